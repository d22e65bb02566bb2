"""The average of the weights: its formula, and that learning does not notice it."""

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from torchrl_gpu.learn.average import AveragedWeights, AverageSettings
from torchrl_gpu.learn.scale import ObservationScale


def weights(learner):
    networks = learner.networks(learner.policy_local).values()
    return [weight.detach().clone() for network in networks for weight in network.parameters()]


def shift(learner, by):
    with torch.no_grad():
        for network in learner.networks(learner.policy_local).values():
            for weight in network.parameters():
                weight.add_(by)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_the_average_of_three_updates_and_the_weights_afterwards(agent_type):
    learner = Agent(agent_type=agent_type, BUFFER_SIZE=2).learner
    average, first = AveragedWeights(learner, AverageSettings(average_tau=0.25)), weights(learner)
    for _ in range(3):
        average.update()
        shift(learner, 1.0)
    latest = weights(learner)
    with average.in_place():
        # 0 at first, then 1 taken in by a quarter, then 2: 0.75 * 0.25 + 0.25 * 2
        for averaged, start in zip(weights(learner), first, strict=True):
            torch.testing.assert_close(averaged, start + 0.6875)
    assert all(map(torch.equal, weights(learner), latest))


def test_before_the_first_update_the_weights_themselves_are_in_place():
    learner = Agent(agent_type="DQN", BUFFER_SIZE=2).learner
    average = AveragedWeights(learner, AverageSettings(average_tau=0.25))
    shift(learner, 1.0)
    latest = weights(learner)
    with average.in_place():
        assert all(map(torch.equal, weights(learner), latest))


def test_an_evaluation_that_fails_leaves_the_latest_weights():
    learner = Agent(agent_type="DQN", BUFFER_SIZE=2).learner
    average = AveragedWeights(learner, AverageSettings(average_tau=0.25))
    average.update()
    shift(learner, 1.0)
    latest = weights(learner)
    with pytest.raises(RuntimeError, match="evaluation"), average.in_place():
        raise RuntimeError("evaluation")
    assert all(map(torch.equal, weights(learner), latest))


def test_a_scale_folds_into_the_average():
    learner, scale = Agent(agent_type="DDPG", BUFFER_SIZE=2).learner, ObservationScale("cpu")
    average = AveragedWeights(learner, AverageSettings(average_tau=0.25))
    average.update()
    shift(learner, 1.0)
    average.update()
    latest = weights(learner)
    with average.in_place():
        averaged = learner.acting_network.self_encoder[0].weight.detach().clone()
        with scale.folded(learner):
            folded = learner.acting_network.self_encoder[0].weight
            assert torch.equal(folded, averaged * scale.scales["self_state"])
    assert all(map(torch.equal, weights(learner), latest))
