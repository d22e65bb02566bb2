"""Tiny numbers are taken for 0 while throughput mode learns, and at no other time."""

import json
from pathlib import Path

import pytest
import torch

from torchrl_gpu.learn.denormals import flushed_denormals
from torchrl_gpu.running import run_trials
from torchrl_gpu.settings.parse import make_trials

CONFIG = json.loads((Path(__file__).parents[2] / "config" / "dqn.json").read_text(encoding="utf-8"))
STAGE = {"num_robots": [3], "num_cores": [0], "num_obstacles": [0], "min_start_goal_dis": [20.0]}
SHORT = {
    "seed": 1,
    "total_timesteps": 40,
    "eval_freq": 30,
    "learning_starts": 30,
    "training_schedule": {"timesteps": [0], **STAGE},
    "eval_schedule": {"num_episodes": [1], **STAGE},
    "imitation_learning": False,
    "buffer_size": 100,
}

needs_flushing = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor cannot take them for 0"
)


def tiny_numbers_are_nothing() -> bool:
    return (torch.full((16,), 1e-30) * 1e-9).eq(0).all().item()


@needs_flushing
def test_a_block_flushes_and_leaves_what_was():
    assert not tiny_numbers_are_nothing()
    with flushed_denormals():
        assert tiny_numbers_are_nothing()
        with flushed_denormals():
            pass
        assert tiny_numbers_are_nothing()
    assert not tiny_numbers_are_nothing()


@needs_flushing
@pytest.mark.parametrize("num_envs", [1, 2], ids=["reproduction", "throughput"])
def test_throughput_mode_flushes_and_reproduction_mode_computes_as_it_always_did(num_envs, tmp_path):
    (trial,) = make_trials(CONFIG | SHORT | {"num_envs": num_envs})
    seen = []
    tell = lambda timestep, metrics: seen.append(tiny_numbers_are_nothing())  # noqa: E731
    run_trials({tmp_path: trial}, "cpu", "quiet", tell)
    assert seen
    assert set(seen) == {num_envs == 2}
    assert not tiny_numbers_are_nothing()
