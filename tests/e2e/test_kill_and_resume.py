"""A run that is killed, wherever it is, and resumed ends exactly as one that never was."""

import json
import multiprocessing
import os
import random
import signal
import time
import zipfile
from pathlib import Path

import pytest

from agents.agent import Agent
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.program import typed

pytestmark = pytest.mark.forks

CONFIG = {
    "seed": 5,
    "total_timesteps": 120,
    "eval_freq": 60,
    "save_dir": "runs",
    "training_schedule": {
        "timesteps": [0, 50],
        "num_robots": [1, 2],
        "num_cores": [0, 1],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [8.0, 15.0],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [8.0],
    },
    "imitation_learning": False,
    "agent_type": "AC-IQN",
    "learning_starts": 40,
    "target_update_interval": 50,
    "batch_size": 16,
    "buffer_size": 100,
    "checkpoint_every": 10,
}


def command(*arguments):
    """The command line in a process of its own; forked, so that it need not import torch again."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=arguments)
    process.start()
    return process


def _run(*arguments):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os._exit(train_torchrl_gpu.main([*arguments, "--quiet"]))


def finish(*arguments):
    process = command(*arguments)
    process.join()
    assert process.exitcode == 0


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(CONFIG))
    return "config.json"


def run_folder():
    (run,) = Path("runs").iterdir()
    return run


def results(run):
    """Everything a run leaves that does not depend on the clock."""
    folder = run / "seed_5"
    files = [folder / "evaluations.npz", *folder.glob("*.pth"), folder / "finished.json"]
    files += [path for path in (folder / "csv").rglob("*.csv") if path.parent.name != "speed"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def whole_run(config):
    finish("-C", config)
    run = run_folder()
    expected = results(run)
    assert "csv/scalars/loss/critic.csv" in expected
    run.rename("whole")
    return expected


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(number, monkeypatch, owner, name):
    """Let the processes to come die when they call a function for the ``number``-th time."""
    original = getattr(owner, name)
    calls = []

    def counted(*args, **kwargs):
        calls.append(name)
        return die() if len(calls) == number else original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


# Where the process dies, one run after the other; each but the first goes on from where the one before died.
MOMENTS = (
    ("before any checkpoint", zipfile.ZipFile, "write", 3),
    ("in a vector step", Agent, "act", 35),
    ("while packing a checkpoint", zipfile.ZipFile, "write", 30),
    ("as a file takes its name", os, "replace", 5),
    ("while saving a model", Agent, "save_latest_model", 1),
)


def test_a_run_killed_at_the_worst_moments_ends_as_if_it_had_not_been(config, monkeypatch):
    expected = whole_run(config)
    arguments = ("-C", config)
    for moment, owner, name, number in MOMENTS:
        with monkeypatch.context() as patch:
            die_at(number, patch, owner, name)
            process = command(*arguments)
            process.join()
        assert process.exitcode == -signal.SIGKILL, moment
        arguments = ("--resume", str(run_folder()))
    finish(*arguments)
    assert results(run_folder()) == expected
    finish(*arguments)  # nothing is left to do
    assert results(run_folder()) == expected


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_as_if_it_had_not_been(config):
    text = json.dumps(CONFIG | {"checkpoint_every": 2})  # most of the time it is saving
    Path(config).write_text(text)
    expected = whole_run(config)
    rng = random.Random(time.time_ns())
    arguments, kills, while_saving = ("-C", config), 0, 0
    while kills < 20:
        process = command(*arguments)
        time.sleep(rng.uniform(0.1, 2.0))
        if process.exitcode is not None:  # done before twenty: begin again
            assert process.exitcode == 0
            assert results(run_folder()) == expected
            run_folder().rename(f"done_{kills}")
            arguments = ("-C", config)
            continue
        process.kill()
        process.join()
        kills += 1
        if Path("runs").exists() and any(Path("runs").iterdir()):
            while_saving += any(run_folder().glob("seed_5/checkpoints/.*"))
            arguments = ("--resume", str(run_folder()))
    finish(*arguments)
    assert results(run_folder()) == expected
    assert while_saving > 0


@pytest.fixture
def hang_up_heard():
    """As where no ``nohup`` has made the tests ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_asked_to_stop_saves_and_says_how_to_go_on(number, config, monkeypatch, capfd):
    Path(config).write_text(json.dumps(CONFIG | {"checkpoint_every": 0}))
    expected = whole_run(config)
    with monkeypatch.context() as patch:
        original, calls = Agent.act, []

        def act(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == 30:
                os.kill(os.getpid(), number)
                time.sleep(0.02)
                os.kill(os.getpid(), signal.SIGTERM)  # some that end processes send two
            return original(self, *args, **kwargs)

        patch.setattr(Agent, "act", act)
        process = command("-C", config)
        process.join()
    assert process.exitcode == 1
    folder = run_folder() / "seed_5"
    (checkpoint,) = (folder / "checkpoints").iterdir()
    note, line, summary = capfd.readouterr().err.splitlines()
    assert note == f"{signal.Signals(number).name}: stopping after this step; again to stop at once"
    timestep = int(checkpoint.stem.removeprefix("checkpoint-"))
    resume = f"{typed('train')} --resume {folder} -D cpu"
    assert line == f"interrupted; to go on from timestep {timestep}: {resume}"
    assert summary == "1 of 1 trials did not finish: seed_5"
    finish("--resume", str(folder))
    assert results(run_folder()) == expected
