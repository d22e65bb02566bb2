"""A film shows the episode that is evaluated, and draws nothing from the run."""

import numpy as np
import pytest
import torch

from agents.agent import Agent
from marinenav_env.envs.reference.world import MarineNavEnv3
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.film import SIDE, Film


def episode(**stage):
    world = MarineNavEnv3(seed=1, num_robots=2, num_cores=1, num_obs=2, min_start_goal_dis=10.0, **stage)
    world.reset()
    return world.episode_data()


@pytest.mark.parametrize("agent_type", ["SAC", "DQN"])
def test_it_is_as_long_as_the_episode_and_the_same_each_time(agent_type, monkeypatch):
    for module in ("batched", "film"):
        monkeypatch.setattr(f"torchrl_gpu.evaluation.{module}.EPISODE_LIMIT", 30)
    agent, given = Agent(agent_type=agent_type, seed=0, training=False), episode()
    film, generator = Film(agent, given, 1), torch.get_rng_state()
    frames = film()
    (result,) = BatchedEvaluation(agent, [given], verbose=False)()
    steps = max(map(len, result.actions))
    assert (frames.shape, frames.dtype) == ((-(-steps // 2) + 1, SIDE, SIDE, 3), np.uint8)
    assert (frames[0] != frames[-1]).any()
    np.testing.assert_array_equal(film(), frames)
    assert torch.equal(torch.get_rng_state(), generator)
