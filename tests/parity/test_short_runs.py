"""The short runs of training spec 12: environment, agent and loop tied together, six agents.

The steps of the evaluation episodes depend on the CPU's last bits for some agents; what comes after them in
the random streams is compared where the steps agree.
"""

import random
from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.legacy.agent import LegacyAgent
from agents.legacy.trainer import Trainer
from marinenav_env.envs import MarineNavEnv3
from scripts.train_rl_agents import shared

pytestmark = pytest.mark.slow

TRAINING = {
    "timesteps": [0],
    "num_robots": [3],
    "num_cores": [0],
    "num_obstacles": [2],
    "min_start_goal_dis": [30.0],
}
EVALUATION = {
    "num_episodes": [1],
    "num_robots": [3],
    "num_cores": [0],
    "num_obstacles": [0],
    "min_start_goal_dis": [30.0],
}


class Expected(NamedTuple):
    """One row of the two tables.

    Attributes:
        losses: Of the first update; the mean for Rainbow.
        rewards: Of the two evaluations.
        steps: Of their episodes.
        energies: Of their episodes.
        stored: Records in the memory at the end.
        python, numpy, torch: What each generator gives next.
    """

    losses: list[float]
    rewards: list[float]
    steps: list[int]
    energies: list[float]
    stored: int
    python: float
    numpy: float | None
    torch: float


EXPECTED = {
    "AC-IQN": Expected(
        [1.21232748, -0.755948424],
        [-12.4020147, -13.5897085],
        [1001, 1001],
        [354229.515, 388286.827],
        441,
        0.005423633951926243,
        0.4155036692248403,
        0.424458385,
    ),
    "IQN": Expected(
        [5.38203812],
        [-9.84294035, -9.84294035],
        [1001, 1001],
        [749541.667, 749541.667],
        483,
        0.9664012296152934,
        None,
        0.337273419,
    ),
    "DDPG": Expected(
        [1.88492012, -1.08377337],
        [-12.5811703, -11.3834668],
        [1001, 1001],
        [352278.51, 396622.21],
        483,
        0.08497840883057273,
        0.5565211058717441,
        0.647924483,
    ),
    "DQN": Expected(
        [2.26212263],
        [-5.33895466, 1.89639343],
        [40, 1001],
        [34083.3333, 709291.667],
        483,
        0.6376310592688723,
        None,
        0.332853794,
    ),
    "SAC": Expected(
        [5.96435881, 2.09282851, -0.182713747],
        [-12.5676183, -12.8002656],
        [1001, 848],
        [350786.45, 312888.503],
        483,
        0.11660957528533022,
        0.4974963527482624,
        0.634384453,
    ),
    "Rainbow": Expected(
        [22.5344736],
        [-27.9664693, -10.0661952],
        [59, 111],
        [47750, 51666.6667],
        4202,
        0.6074417558194444,
        0.9382947672260624,
        0.743206561,
    ),
}


@pytest.mark.parametrize("agent_type", EXPECTED)
def test_short_run(agent_type, tmp_path):
    expected = EXPECTED[agent_type]
    rainbow = agent_type == "Rainbow"
    train_env = MarineNavEnv3(seed=0, schedule=TRAINING)
    eval_env = MarineNavEnv3(seed=253, is_eval_env=True)
    agent = LegacyAgent(seed=100, BUFFER_SIZE=20000, agent_type=agent_type)
    np.random.seed(11)
    if rainbow:
        random.seed(12)
    starts, interval, total, period = (2000, 2050, 2060, 2040) if rainbow else (80, 100, 160, 120)
    trainer = Trainer(
        train_env,
        eval_env,
        EVALUATION,
        agent,
        learning_starts=starts,
        target_update_interval=interval,
        shared=shared(),
    )
    losses, train = [], agent.train
    agent.train = lambda: losses.append(np.atleast_1d(train()))

    trainer.learn(total, period, tmp_path, verbose=False)

    start = trainer.eval_config[0]["robots"]["start"][0]
    assert start == pytest.approx([38.52590909687409, 7.369966625969787], abs=1e-9)
    assert len(losses) == (16 if rainbow else 21)
    assert trainer.eval_timesteps == ([2000, 2040] if rainbow else [80, 120])
    assert agent.stored - rainbow == expected.stored  # Quirk A4
    first = [losses[0].mean()] if rainbow else losses[0]
    np.testing.assert_allclose(first, expected.losses, rtol=2e-5)
    steps = [len(episode[0][0]) - 1 for episode in trainer.eval_observations]
    if steps == expected.steps:
        assert random.random() == expected.python
        assert torch.rand(1).item() == pytest.approx(expected.torch, abs=1e-8)
        assert expected.numpy is None or np.random.uniform() == expected.numpy
        rtol = 1e-3 if agent.continuous else 1e-5
        for mine, recorded in (
            (trainer.eval_rewards, expected.rewards),
            (trainer.eval_energies, expected.energies),
        ):
            np.testing.assert_allclose(np.ravel(mine).astype(float), recorded, rtol=rtol)
