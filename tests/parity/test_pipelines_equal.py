"""The TorchRL pipeline in reproduction mode against the legacy one: bit for bit, from the same config."""

import copy
import filecmp
from typing import Any

import numpy as np
import pytest
import torch

from agents.learners import LEARNERS
from agents.learners.base import Learner
from marinenav_env.envs import MarineNavEnv3
from scripts import train_rl_agents
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.settings.parse import make_trials

# Crosses a curriculum change, the learning start, a target copy, a wrap of the ring, and two evaluations. The
# short evaluation distances keep an untrained policy's episodes from lasting 1001 steps each.
CONFIG = {
    "seed": 34,
    "total_timesteps": 260,
    "eval_freq": 200,
    "save_dir": "unused",
    "training_schedule": {
        "timesteps": [0, 60],
        "num_robots": [2, 3],
        "num_cores": [0, 2],
        "num_obstacles": [0, 2],
        "min_start_goal_dis": [25.0, 30.0],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [2],
        "num_cores": [1],
        "num_obstacles": [1],
        "min_start_goal_dis": [10.0],
    },
    "imitation_learning": False,
    "agent_type": "AC-IQN",
    "learning_starts": 100,
    "target_update_interval": 120,
    "buffer_size": 300,
}

# Few segments, because the newest records fill one of many (Quirk A7).
OVERRIDES = {"Rainbow": {"batch_size": 4}}


class Run:
    """What one pipeline did: every step of every world, every loss, the weights at the end, the files."""

    def __init__(self, pipeline: Any, config: dict, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list = []
        self.losses: list = []
        self.folder = folder
        folder.mkdir()
        self._record(
            monkeypatch, MarineNavEnv3, "step", lambda env, result: self.steps.append(_step(env, result))
        )
        self._record(monkeypatch, Learner, "update", self._learned)
        [trial] = make_trials(config)
        pipeline.run_trial(trial, folder, "cpu")
        monkeypatch.undo()
        self.record = EvaluationRecord.load(folder)

    def _learned(self, learner: Learner, losses: Any) -> None:
        self.learner = learner
        self.losses.append({name: loss.clone() for name, loss in losses.items()})

    @staticmethod
    def _record(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, note: Any) -> None:
        original = getattr(owner, method)

        def recording(self: Any, *args: Any) -> Any:
            result = original(self, *args)
            note(self, result)
            return result

        monkeypatch.setattr(owner, method, recording)


def _step(env: MarineNavEnv3, result: tuple) -> tuple:
    observations, rewards, dones, infos = copy.deepcopy(result)
    return env.total_timesteps, observations, [float(reward) for reward in rewards], dones, infos


def differences(a: Run, b: Run) -> list[str]:
    """Names of everything in which two runs differ in any bit."""
    found = []
    if a.steps != b.steps:
        found.append("steps")
    if not _equal_losses(a.losses, b.losses):
        found.append("losses")
    for name in ("policy_local", "policy_target"):
        nets = (x.learner.networks(getattr(x.learner, name)) for x in (a, b))
        if not all(_equal_states(p, q) for p, q in zip(*(n.values() for n in nets), strict=True)):
            found.append(name)
    found += [
        file
        for file in ("eval_configs.json", "evaluations.npz")
        if not filecmp.cmp(a.folder / file, b.folder / file, shallow=False)
    ]
    return found


def _equal_losses(a: list[dict], b: list[dict]) -> bool:
    return len(a) == len(b) and all(
        p.keys() == q.keys() and all(torch.equal(p[k], q[k]) for k in p) for p, q in zip(a, b, strict=True)
    )


def _equal_states(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(value, states[1][key]) for key, value in states[0].items()
    )


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_both_pipelines_give_the_same_run(agent_type, tmp_path, monkeypatch):
    config = {**CONFIG, "agent_type": agent_type, **OVERRIDES.get(agent_type, {})}
    legacy = Run(train_rl_agents, config, tmp_path / "legacy", monkeypatch)
    ours = Run(train_torchrl_gpu, config, tmp_path / "torchrl", monkeypatch)
    assert differences(legacy, ours) == []
    # The run crossed what it is meant to cross.
    assert len(legacy.losses) == 41
    assert legacy.record.timesteps == [100, 200]
    stored = sum(len(step[3]) for step in legacy.steps)
    assert stored > config["buffer_size"]


def test_a_perturbed_learning_rate_is_noticed(tmp_path, monkeypatch):
    legacy = Run(train_rl_agents, CONFIG, tmp_path / "legacy", monkeypatch)
    ours = Run(train_torchrl_gpu, {**CONFIG, "learning_rate": 1.001e-4}, tmp_path / "torchrl", monkeypatch)
    found = differences(legacy, ours)
    assert "policy_local" in found
    assert "losses" in found
    assert np.isfinite([float(loss["critic"]) for loss in ours.losses]).all()
