"""The legacy command line from config file to run folder, and what both command lines share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import train_rl_agents
from torchrl_gpu import __version__, train_torchrl_gpu
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.runs.job import Job
from torchrl_gpu.runs.sweep import build_parser, launch
from torchrl_gpu.settings.parse import make_trials

ROOT = Path(__file__).parents[2]

SMALL = {
    "seed": [3],
    "total_timesteps": 24,
    "eval_freq": 16,
    "save_dir": "runs",
    "training_schedule": {
        "timesteps": [0, 12],
        "num_robots": [1, 2],
        "num_cores": [0, 1],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [10, 15.5],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [5.0],
    },
    "imitation_learning": False,
    "agent_type": "DQN",
    "learning_starts": 16,
    "batch_size": 8,
    "buffer_size": 1000,
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder, and a function that writes a config next to it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def write(content=None, **changes):
        path = tmp_path / "config.json"
        path.write_text(content if content is not None else json.dumps(SMALL | changes))
        return str(path)

    return write


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_leaves_the_legacy_files_and_a_summary(workplace, capsys):
    assert train_rl_agents.main(["-C", workplace()]) == 0
    (run,) = Path("runs").iterdir()
    (folder,) = run.iterdir()
    assert folder.name == "seed_3"
    assert files_of(folder) == [
        "constructor_params.json",
        "eval_configs.json",
        "evaluations.npz",
        "network_params.pth",
        "trial_config.json",
    ]
    text = (folder / "trial_config.json").read_text()
    trial = json.loads(text)
    assert "\n" not in text
    assert list(trial)[-3:] == ["training_time", "training_schedule", "eval_schedule"]
    assert run.name == f"training_{trial['training_time']}"
    assert trial == SMALL | {"seed": 3, "training_time": trial["training_time"]}
    for schedule in ("training_schedule", "eval_schedule"):
        assert json.dumps(trial[schedule]) == json.dumps(SMALL[schedule])
    assert EvaluationRecord.load(folder).timesteps == [16]
    (episode,) = json.loads((folder / "eval_configs.json").read_text())
    assert episode["env"]["seed"] == 253
    printed = capsys.readouterr().out
    assert 'agent_type: "DQN"' in printed
    assert "seed: [3]" in printed
    assert "training schedule" in printed
    assert "min start goal dis:  10\n" in printed
    assert "success rate" in printed
    assert str(folder) in printed


def test_the_same_seed_gives_the_same_run_in_this_process_and_in_another(workplace):
    """Both ways of running a sweep; AC-IQN draws from all three generators (Defect T11)."""
    config = workplace(agent_type="AC-IQN", seed=[3, 4])
    assert train_rl_agents.main(["-C", config]) == 0
    subprocess.run(
        [sys.executable, "-m", "scripts.train_rl_agents", "-C", config, "-P", "2"],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    first, second = sorted(Path("runs").iterdir())
    for seed in (3, 4):
        records = [EvaluationRecord.load(run / f"seed_{seed}") for run in (first, second)]
        assert records[0] == records[1]
        weights = [
            (run / f"seed_{seed}" / "actor_network_params.pth").read_bytes() for run in (first, second)
        ]
        assert weights[0] == weights[1]
    assert EvaluationRecord.load(first / "seed_3") != EvaluationRecord.load(first / "seed_4")


def finish_or_fail(trial, folder, device):
    """A trial that fails for one seed; module-level, so that a process can be given it."""
    if trial["seed"] == 1:
        raise RuntimeError("no such luck,\nnot today")
    if trial["seed"] == 2:
        os.kill(os.getpid(), 9)
    (folder / "done.txt").write_text(device)


def start(config, *flags, run_trial=finish_or_fail):
    return launch(build_parser("test", "", "").parse_args(["-C", config, *flags]), run_trial)


def test_a_failing_trial_is_reported_and_stops_no_other(workplace, capsys):
    assert start(workplace(seed=[0, 1, 4])) == 1
    (run,) = Path("runs").iterdir()
    assert (run / "seed_0" / "done.txt").exists()
    assert (run / "seed_4" / "done.txt").exists()
    assert "RuntimeError: no such luck" in (run / "seed_1" / "failure.txt").read_text()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("trial seed_1 failed: RuntimeError: no such luck, not today (traceback in ")
    assert last == "1 of 3 trials did not finish: seed_1"


def test_a_killed_process_stops_no_other_trial(workplace, capfd):
    assert start(workplace(seed=[0, 2, 4]), "-P", "2") == 1
    (run,) = Path("runs").iterdir()
    assert (run / "seed_0" / "done.txt").exists()
    assert (run / "seed_4" / "done.txt").exists()
    error = capfd.readouterr().err
    assert "trial seed_2 failed: its process was ended by SIGKILL" in error
    assert "1 of 3 trials did not finish: seed_2" in error


def interrupted(trial, folder, device):
    """Stands for a run that met SIGINT, left a checkpoint, and ends the sweep."""
    raise KeyboardInterrupt


def test_an_interruption_ends_the_sweep(workplace, capsys):
    assert start(workplace(seed=[0, 1]), run_trial=interrupted) == 1
    assert capsys.readouterr().err.splitlines()[0] == "interrupted"
    (run,) = Path("runs").iterdir()
    assert [folder.name for folder in run.iterdir()] == ["seed_0"]


def test_two_runs_of_one_second_have_two_folders(workplace):
    config = workplace(seed=0)
    assert start(config) == 0
    assert start(config) == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_a_trial_never_writes_into_an_existing_folder(tmp_path, capsys):
    (trial,) = make_trials(SMALL)
    folder = tmp_path / "taken"
    folder.mkdir()
    assert not Job(finish_or_fail, trial, folder, "stamp", "cpu").run()
    assert "FileExistsError" in capsys.readouterr().err


@pytest.mark.parametrize("main", [train_rl_agents.main, train_torchrl_gpu.main], ids=["legacy", "torchrl"])
class TestBothCommandLines:
    def test_version(self, main, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["--version"])
        assert stop.value.code == 0
        assert __version__ in capsys.readouterr().out

    def test_help_shows_flags_and_examples(self, main, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        for flag in ("-C", "--config-file", "-P", "--num-procs", "-D", "--device", "--version", "examples:"):
            assert flag in text
