"""Scalars of a run in files: CSV always, the others where chosen and installed."""

from importlib.util import find_spec

import pytest

from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.settings.parse import ConfigError, make_trials
from torchrl_gpu.watch import loggers
from torchrl_gpu.watch.loggers import LoggerSettings, ScalarLog, rewind


def test_csv_is_always_written(tmp_path):
    log = ScalarLog(tmp_path, LoggerSettings(), {})
    log({"train/return": 1.5, "loss/critic": 2.0}, 10)
    log({"train/return": -0.25}, 20)
    log.close(finished=True)
    assert all(file.closed for file in log.loggers[0].experiment.files.values())
    scalars = tmp_path / "csv" / "scalars"
    assert (scalars / "train" / "return.csv").read_text() == "10,1.5\n20,-0.25\n"
    assert (scalars / "loss" / "critic.csv").read_text() == "10,2.0\n"
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["scalars"]


def test_the_chosen_logger_comes_on_top(tmp_path, monkeypatch):
    made = []

    class Recorder:
        def __init__(self, name, **options):
            made.append((name, options))

        def log_hparams(self, config):
            made.append(config)

        def log_metrics(self, scalars, step):
            made.append((scalars, step))

    monkeypatch.setattr(loggers, "WandbLogger", Recorder)
    folder = tmp_path / "training_x" / "seed_3"
    folder.mkdir(parents=True)
    ScalarLog(folder, LoggerSettings(logger="wandb"), {"seed": 3})({"loss/actor": 1.0}, 4)
    name = "training_x-seed_3"
    assert made[0] == (name, {"log_dir": str(folder), "project": "marinenav", "id": name})
    assert made[1:] == [{"seed": 3}, ({"loss/actor": 1.0}, 4)]
    assert (folder / "csv" / "scalars" / "loss" / "actor.csv").is_file()


def test_rewinding_keeps_what_came_before(tmp_path):
    path = tmp_path / "csv" / "scalars" / "train" / "return.csv"
    path.parent.mkdir(parents=True)
    path.write_text("10,1.5\n20,2.5\n30,3.5\n40,4.")  # killed while it wrote the last line
    rewind(tmp_path, 30, EvaluationRecord())
    assert path.read_text() == "10,1.5\n20,2.5\n30,3.5\n"  # written before the timestep 30 is made
    path.write_text("10,1.5\n2")
    rewind(tmp_path, 30, EvaluationRecord())
    assert path.read_text() == "10,1.5\n"


def test_rewinding_writes_the_series_of_evaluations_from_their_record(tmp_path):
    """An evaluation is labelled by its own timestep: that at 30 is still to come."""
    record = EvaluationRecord()
    for timestep, success in ((10, False), (20, True)):
        record.append(timestep, [EpisodeResult(1.5, success, 7.0, 30.0, [], [], [])])
    scalars = tmp_path / "csv" / "scalars"
    for name in ("eval", "speed"):
        (scalars / name).mkdir(parents=True)
    (scalars / "eval" / "return.csv").write_text("1")  # torn
    (scalars / "eval" / "time.csv").write_text("30,9.0\n")
    (scalars / "speed" / "wall_minutes.csv").write_text("10,0.5\n20,1.0\n30,1.5\n")
    rewind(tmp_path, 30, record)
    assert (scalars / "eval" / "return.csv").read_text() == "10,1.5\n20,1.5\n"
    assert (scalars / "eval" / "success.csv").read_text() == "10,0.0\n20,1.0\n"
    assert (scalars / "eval" / "time.csv").read_text() == "20,7.0\n"
    assert (scalars / "speed" / "wall_minutes.csv").read_text() == "10,0.5\n20,1.0\n"


def test_a_full_disk_costs_rows_and_no_run(tmp_path, monkeypatch):
    log = ScalarLog(tmp_path, LoggerSettings(), {})
    with monkeypatch.context() as patch:

        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        patch.setattr(type(log.loggers[0]), "log_metrics", full)
        log({"train/return": 1.5}, 10)
    log({"train/return": 2.5}, 20)
    assert (tmp_path / "csv" / "scalars" / "train" / "return.csv").read_text() == "20,2.5\n"


CONFIG = {
    "seed": 0,
    "total_timesteps": 10,
    "learning_starts": 5,
    "eval_freq": 5,
    "training_schedule": {
        "timesteps": [0],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [10.0],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [10.0],
    },
    "imitation_learning": False,
    "agent_type": "DQN",
}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_logger_is_refused_and_how_to_install_it_told(name, tmp_path, monkeypatch):
    [trial] = make_trials({**CONFIG, "save_dir": str(tmp_path), "logger": name})
    monkeypatch.setattr(loggers, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"key 'logger': \"{name}\" .* pip install {name}, "):
        train_torchrl_gpu.check(trial, 1, "cpu")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(loggers, "find_spec", lambda module: find_spec("json"))
    trial.logger.check_installed()


def test_csv_needs_nothing(tmp_path, monkeypatch):
    [trial] = make_trials({**CONFIG, "save_dir": str(tmp_path)})
    monkeypatch.setattr(loggers, "find_spec", lambda module: None)
    trial.logger.check_installed()


@pytest.mark.parametrize("logger", ["csv", "wandb"])
def test_videos_need_tensorboard(logger, tmp_path):
    [trial] = make_trials({**CONFIG, "save_dir": str(tmp_path), "logger": logger, "video_every": 3})
    with pytest.raises(ConfigError, match='key \'video_every\': 3 needs "logger" to be "tensorboard"'):
        train_torchrl_gpu.check(trial, 1, "cpu")
