"""The average of the weights: its formula, and that learning does not notice it."""

import pytest
import torch

from agents.agent import ALGORITHMS, Agent
from torchrl_gpu.learn.average import AveragedWeights
from torchrl_gpu.learn.scale import ObservationScale


def weights(algorithm):
    networks = algorithm.networks(algorithm.policy_local).values()
    return [weight.detach().clone() for network in networks for weight in network.parameters()]


def shift(algorithm, by):
    with torch.no_grad():
        for network in algorithm.networks(algorithm.policy_local).values():
            for weight in network.parameters():
                weight.add_(by)


@pytest.mark.parametrize("agent_type", ALGORITHMS)
def test_the_average_of_three_updates_and_the_weights_afterwards(agent_type):
    algorithm = Agent(agent_type=agent_type, BUFFER_SIZE=2).algorithm
    average, first = AveragedWeights(algorithm, 0.25), weights(algorithm)
    for _ in range(3):
        average.update()
        shift(algorithm, 1.0)
    latest = weights(algorithm)
    with average.in_place():
        # 0 at first, then 1 taken in by a quarter, then 2: 0.75 * 0.25 + 0.25 * 2
        for averaged, start in zip(weights(algorithm), first, strict=True):
            torch.testing.assert_close(averaged, start + 0.6875)
    assert all(map(torch.equal, weights(algorithm), latest))


def test_before_the_first_update_the_weights_themselves_are_in_place():
    algorithm = Agent(agent_type="DQN", BUFFER_SIZE=2).algorithm
    average = AveragedWeights(algorithm, 0.25)
    shift(algorithm, 1.0)
    latest = weights(algorithm)
    with average.in_place():
        assert all(map(torch.equal, weights(algorithm), latest))


def test_an_evaluation_that_fails_leaves_the_latest_weights():
    algorithm = Agent(agent_type="DQN", BUFFER_SIZE=2).algorithm
    average = AveragedWeights(algorithm, 0.25)
    average.update()
    shift(algorithm, 1.0)
    latest = weights(algorithm)
    with pytest.raises(RuntimeError, match="evaluation"), average.in_place():
        raise RuntimeError("evaluation")
    assert all(map(torch.equal, weights(algorithm), latest))


def test_a_scale_folds_into_the_average():
    algorithm, scale = Agent(agent_type="DDPG", BUFFER_SIZE=2).algorithm, ObservationScale("cpu")
    average = AveragedWeights(algorithm, 0.25)
    average.update()
    shift(algorithm, 1.0)
    average.update()
    latest = weights(algorithm)
    with average.in_place():
        averaged = algorithm.acting_network.self_encoder[0].weight.detach().clone()
        with scale.folded(algorithm):
            folded = algorithm.acting_network.self_encoder[0].weight
            assert torch.equal(folded, averaged * scale.scales["self_state"])
    assert all(map(torch.equal, weights(algorithm), latest))
