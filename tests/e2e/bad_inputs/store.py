"""The folder in which everything is good: one input of every kind."""

import json
import os
import shutil
from pathlib import Path

from agents.agent import Agent
from scripts import export, vrx_experiment_config
from tests.e2e.bad_inputs.case import CONFIG
from tests.unit.recordings import golden_episode
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.torchrl_trainer import TorchRLTrainer


def build_store(store: Path, golden: Path) -> None:
    """Fill a folder with one good input of every kind."""
    (store / "config.json").write_text(json.dumps(CONFIG))
    (store / "empty").mkdir()
    for kind in ("AC-IQN", "IQN", "SAC"):
        shutil.copytree(golden / "agents" / "checkpoints" / kind, store / kind)
    model = store / "DQN"
    model.mkdir()
    Agent(agent_type="DQN", training=False).save_latest_model(model)
    assert export.main(["-M", str(model), "-O", str(store)]) == 0
    episode = golden_episode(golden)
    (store / "episode.json").write_text(json.dumps(episode))
    write_trial(store / "trial", episode)
    write_vrx(store / "vrx")
    write_stopped_run(store)


def write_trial(folder: Path, episode: dict) -> None:
    """The folder of a trial with one evaluation of one episode."""
    folder.mkdir()
    robots = episode["robots"]
    histories = (robots[f"{name}_history"] for name in ("observation", "action"))
    record = EvaluationRecord()
    record.append(60_000, [EpisodeResult(12.0, True, 43.0, 20_000.0, *histories, robots["trajectory"])])
    record.save(folder)
    (folder / "eval_configs.json").write_text(json.dumps([episode]))
    (folder / "trial_config.json").write_text(json.dumps({"seed": 0, "agent_type": "AC-IQN"}))


def write_vrx(folder: Path) -> None:
    """The folder of a VRX experiment of two vessels."""
    folder.mkdir()
    config = str(folder / "vrx_exp_config.json")
    assert vrx_experiment_config.main(["--robots", "2", "--output", config]) == 0
    names = ("wamv1", "wamv2")
    record = {
        "timestamps": {name: [0.0, 0.5] for name in names},
        "poses": {name: [[-480.0, 240.0, 0, 0, 0, 1]] * 2 for name in names},
        "velocities": {name: [[1.0, 0.0]] * 2 for name in names},
    }
    (folder / "vrx_exp_traj.json").write_text(json.dumps(record))


def write_stopped_run(store: Path) -> None:
    """A run that was stopped at timestep 10, with a checkpoint, in ``run``; its trial is ``run/seed_3``."""
    advance = TorchRLTrainer._advance

    def stop_at_ten(self: TorchRLTrainer, directory: Path) -> None:
        advance(self, directory)
        if self.timestep == 10:
            os.kill(os.getpid(), 15)

    TorchRLTrainer._advance = stop_at_ten
    try:
        config = store / "stopped.json"
        config.write_text(json.dumps(CONFIG | {"save_dir": str(store / "stopped")}))
        assert train_torchrl_gpu.main(["-C", str(config), "--quiet"]) == 1
    finally:
        TorchRLTrainer._advance = advance
    (run,) = (store / "stopped").iterdir()
    run.rename(store / "run")
    (store / "stopped").rmdir()
    config.unlink()
    for path in (store / "run" / "config.json", store / "run" / "seed_3" / "trial_config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"save_dir": "runs"}))
