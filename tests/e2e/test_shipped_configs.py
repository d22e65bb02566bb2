"""Every config that is shipped runs from the command line; the runs are shortened, nothing else."""

import json
from pathlib import Path

import pytest

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from agents.learners.base import Learner
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation.record import EvaluationRecord

CONFIGS = sorted((Path(__file__).parents[2] / "config").glob("*.json"))
SHORT = {
    "total_timesteps": 160,
    "eval_freq": 80,
    "learning_starts": 120,
    "target_update_interval": 32,
    "update_every": 16,
    "batch_size": 4,
    "buffer_size": 1000,
}
SHORT_THROUGHPUT = {"num_envs": 8, "compile": False}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_trains(path, tmp_path, monkeypatch):
    monkeypatch.setattr(torchrl_gpu.evaluation.one_by_one, "EPISODE_LIMIT", 10)
    monkeypatch.setattr(torchrl_gpu.evaluation.batched, "EPISODE_LIMIT", 10)
    updates = []
    update = Learner.update
    monkeypatch.setattr(Learner, "update", lambda *args: updates.append(1) or update(*args))
    config = json.loads(path.read_text(encoding="utf-8"))
    throughput = {key: value for key, value in SHORT_THROUGHPUT.items() if key in config}
    config |= {**SHORT, **throughput, "save_dir": str(tmp_path)}
    config["eval_schedule"]["num_episodes"] = [1] * len(config["eval_schedule"]["num_episodes"])
    short = tmp_path / "short.json"
    short.write_text(json.dumps(config), encoding="utf-8")

    assert train_torchrl_gpu.main(["-C", str(short), "-D", "cpu"]) == 0
    [folder] = tmp_path.glob("training_*/seed_*")
    assert EvaluationRecord.load(folder).timesteps == [120, 160]
    assert len(updates) == 3
    assert list(folder.glob("*.pth"))
