"""On a GPU the host waits for nothing in a training step: world, policy, replay, update stay there."""

import pytest
import torch

from torchrl_gpu.experiment import build_trainer
from torchrl_gpu.settings.parse import make_trials

ONE_SMALL_EPISODE = {
    "num_episodes": [1],
    "num_robots": [2],
    "num_cores": [0],
    "num_obstacles": [0],
    "min_start_goal_dis": [10.0],
}
CONFIG = {
    "seed": 3,
    "total_timesteps": 64 * 60,
    "eval_freq": 1_000_000,
    "save_dir": "unused",
    "training_schedule": {
        "timesteps": [0],
        "num_robots": [5],
        "num_cores": [0],
        "num_obstacles": [4],
        "min_start_goal_dis": [40.0],
    },
    "eval_schedule": ONE_SMALL_EPISODE,
    "imitation_learning": False,
    "agent_type": "AC-IQN",
    "num_envs": 64,
    "backend": "torch",
    "learning_starts": 640,
    "update_every": 32,
    "target_update_interval": 128,
    "buffer_size": 10_000,
    "observation_scale": True,
    "action_noise": 0.1,
    "bootstrap_on_timeout": True,
}


class NoHostWait:
    """Forbids synchronisation between two timesteps of a run, after everything has warmed up."""

    def __init__(self, start, stop):
        self.start, self.stop = start, stop
        self.steps = 0

    def __call__(self, step, timestep):
        if timestep >= self.stop:
            torch.cuda.set_sync_debug_mode("default")
        elif timestep >= self.start:
            torch.cuda.set_sync_debug_mode("error")
            self.steps += 1


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("agent_type", ["AC-IQN", "IQN", "DDPG", "DQN", "SAC"])
def test_a_training_step_never_waits_for_the_device(agent_type, compile, tmp_path):
    options = {"agent_type": agent_type, "compile": compile}
    if agent_type in ("IQN", "DQN"):
        options["action_noise"] = 0.0
    if agent_type in ("DDPG", "DQN"):
        options["bootstrap_steps"] = 3
    [trial] = make_trials({**CONFIG, **options})
    trainer = build_trainer(trial, "cuda", tmp_path)
    guard = NoHostWait(64 * 30, 64 * 40)
    trainer.listeners = (*trainer.listeners, guard)
    try:
        trainer.learn(tmp_path)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert guard.steps == 10
    assert trainer.updates > 50
