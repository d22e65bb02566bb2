"""Weights that become NaN end a training in one line, and nothing that was written before is lost."""

import dataclasses

import pytest

from agents.models.folder import load_agent
from torchrl_gpu.api import run_trial
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.runs.job import Job
from torchrl_gpu.settings.parse import make_trials

STAGE = {"num_robots": [2], "num_cores": [0], "num_obstacles": [1], "min_start_goal_dis": [8.0]}
CONFIG = {
    "seed": 3,
    "save_dir": "unused",
    "imitation_learning": False,
    "total_timesteps": 400,
    "eval_freq": 1000,
    "learning_starts": 42,  # evaluates; the first update is at 44
    "batch_size": 8,
    "buffer_size": 500,
    "checkpoint_every": 20,
    "training_schedule": {"timesteps": [0], **STAGE},
    "eval_schedule": {"num_episodes": [1], **STAGE},
}
FAST = {"num_envs": 4, "backend": "torch"}


@pytest.fixture(autouse=True)
def _short_evaluations(monkeypatch):
    for room in ("one_by_one", "batched"):
        monkeypatch.setattr(f"torchrl_gpu.evaluation.{room}.EPISODE_LIMIT", 20)


def diverging(learning_rate=1e30, **keys):
    """A trial with a step size that no config may have."""
    (trial,) = make_trials({**CONFIG, **keys})
    learner = trial.learner.model_copy(update={"learning_rate": learning_rate})
    return dataclasses.replace(trial, learner=learner)


@pytest.mark.parametrize(
    ("agent_type", "keys"),
    [
        *(pytest.param(name, {}, id=f"{name}-reproduction") for name in ("AC-IQN", "DQN", "SAC", "Rainbow")),
        *(pytest.param(name, FAST, id=f"{name}-throughput") for name in ("AC-IQN", "DQN", "SAC", "Rainbow")),
        pytest.param("IQN", FAST | {"prioritized_replay": True}, id="prioritized"),
    ],
)
def test_a_run_that_diverges_ends_in_one_line(agent_type, keys, tmp_path, capfd):
    trial = diverging(agent_type=agent_type, **keys)
    folder = tmp_path / trial.name
    assert not Job(run_trial, trial, folder, "now", "cpu").run()
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("trial seed_3 failed: DivergedError: weights of ")
    assert " are no finite numbers any more at timestep " in told
    assert "with learning_rate 1e+30 and max_grad_norm 0.5; the folder holds the model of timestep 42" in told
    assert "Traceback" in (folder / "failure.txt").read_text()
    assert EvaluationRecord.load(folder).timesteps == [42]
    assert load_agent(folder).agent_type == agent_type
    kept = [int(path.stem.partition("-")[2]) for path in (folder / "checkpoints").iterdir()]
    assert kept
    assert max(kept) <= 44


def test_what_fails_for_another_reason_says_so(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("torchrl_gpu.replay.buffer.Replay.sample", lambda *_: 1 / 0)
    (trial,) = make_trials({**CONFIG, "agent_type": "DQN"})
    assert not Job(run_trial, trial, tmp_path / "run", "now", "cpu").run()
    assert "failed: ZeroDivisionError: division by zero" in capfd.readouterr().err
