"""Scaled observations: folding the scale into the first weights is exact up to rounding."""

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from torchrl_gpu.learn.scale import ObservationScale


def observation(seed, n=6):
    generator = torch.Generator().manual_seed(seed)
    self_state = torch.randn(n, 7, generator=generator) * torch.tensor([20.0, 20, 2, 2, 1, 500, 500])
    objects_state = torch.randn(n, 5, 5, generator=generator) * 5
    return self_state, objects_state, torch.rand(n, 5, generator=generator) < 0.6


def features(agent, state):
    return agent.learner.acting_network.features(state)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_folded_networks_take_raw_observations_and_come_back_unchanged(agent_type):
    agent, scale = Agent(agent_type=agent_type, BUFFER_SIZE=100), ObservationScale("cpu")
    raw = observation(0)
    scaled = scale("self_state", raw[0]), scale("objects_state", raw[1]), raw[2]
    before = {k: v.clone() for k, v in agent.learner.acting_network.state_dict().items()}
    expected = features(agent, scaled)
    assert not torch.allclose(features(agent, raw), expected, rtol=1e-2)
    with scale.folded(agent.learner):
        torch.testing.assert_close(features(agent, raw), expected, rtol=1e-5, atol=1e-5)
    after = agent.learner.acting_network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_loaded_model_is_the_same_function_of_scaled_observations():
    agent, scale = Agent(agent_type="AC-IQN", BUFFER_SIZE=100), ObservationScale("cpu")
    raw = observation(1)
    expected = features(agent, raw)
    scale.unfold_(agent.learner)
    scaled = scale("self_state", raw[0]), scale("objects_state", raw[1]), raw[2]
    torch.testing.assert_close(features(agent, scaled), expected, rtol=1e-5, atol=1e-4)
