"""The command line of the TorchRL pipeline: what it shows, what it refuses, how it goes on."""

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torchrl_gpu.evaluation.one_by_one
from scripts import train_rl_agents
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.runs import memory
from torchrl_gpu.runs.folder import locked
from torchrl_gpu.settings.parse import ConfigError, make_trials
from torchrl_gpu.torchrl_trainer import TorchRLTrainer

pytestmark = pytest.mark.forks

ROOT = Path(__file__).parents[2]

SMALL = {
    "seed": 3,
    "total_timesteps": 40,
    "eval_freq": 20,
    "save_dir": "runs",
    "training_schedule": {
        "timesteps": [0],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [8.0],
    },
    "eval_schedule": {
        "num_episodes": [2],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [8.0],
    },
    "imitation_learning": False,
    "agent_type": "DQN",
    "learning_starts": 16,
    "batch_size": 8,
    "buffer_size": 1000,
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder with short evaluations, and a function that writes a config next to it."""
    monkeypatch.setattr(torchrl_gpu.evaluation.one_by_one, "EPISODE_LIMIT", 10)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def write(**changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(SMALL | changes))
        return str(path)

    return write


def main(*arguments):
    try:
        return train_torchrl_gpu.main(arguments)
    except SystemExit as stop:  # argparse
        return stop.code


def the_run():
    (run,) = Path("runs").iterdir()
    return run


# ---- watching


def test_one_line_per_evaluation_and_a_summary(workplace, capsys):
    assert main("-C", workplace()) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line for line in out.splitlines() if line.startswith("timestep ")]
    assert [line.split("  ")[0] for line in lines] == [f"timestep {t} of 40" for t in (16, 20, 40)]
    assert "Run finished" in out
    assert "Evaluating episode" not in out
    assert "LazyTensorStorage" not in out
    folder = the_run() / "seed_3"
    assert json.loads((folder / "finished.json").read_text()) == {"timesteps": 41, "updates": 7}
    returns = (folder / "csv" / "scalars" / "eval" / "return.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in returns] == ["16", "20", "40"]


def test_verbose_prints_the_legacy_reports_and_quiet_nothing(workplace, capsys):
    assert main("-C", workplace(total_timesteps=1200, eval_freq=5000, update_every=500), "--verbose") == 0
    out = capsys.readouterr().out
    assert out.count("======== RL Episode Info ========") >= 2
    assert "Evaluating episode 1" in out
    assert "++++++++ Evaluation ++++++++" in out
    assert main("-C", workplace(), "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert main("-C", workplace(), "--quiet", "--verbose") == 2
    assert "argument --verbose: not allowed with argument --quiet" in capsys.readouterr().err


def test_the_command_as_a_user_types_it(workplace):
    """In a process of its own: nothing on stderr, TorchRL's announcements included."""
    config = workplace(total_timesteps=17)
    done = subprocess.run(
        [sys.executable, "-m", "torchrl_gpu.train_torchrl_gpu", "-C", config, "-D", "cpu"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("reproduction mode: ")
    assert "Run finished" in done.stdout
    assert "INFO" not in done.stdout


def test_keys_on_the_command_line_win_and_are_recorded(workplace, capsys):
    assert main("seed=4,5", "-C", workplace(), "--fast", "num_envs=8", "total_timesteps=24") == 0
    because = 'compile "auto", num_envs 8, backend "torch" ("auto" here: nothing compiled)'
    assert capsys.readouterr().out.startswith(f"throughput mode, because of {because}\n")
    run = the_run()
    given = {"num_envs": 8, "backend": "torch", "compile": "auto", "total_timesteps": 24}
    assert json.loads((run / "config.json").read_text()) == SMALL | given | {"seed": [4, 5]}
    for seed in (4, 5):
        trial = json.loads((run / f"seed_{seed}" / "trial_config.json").read_text())
        assert trial == SMALL | given | {"seed": seed, "training_time": trial["training_time"]}


# ---- resuming


def stop_at(timestep, monkeypatch):
    """Let runs be asked to stop once they reach a timestep."""
    original = TorchRLTrainer._advance

    def advance(self, directory):
        original(self, directory)
        if self.timestep == timestep:
            os.kill(os.getpid(), 15)

    monkeypatch.setattr(TorchRLTrainer, "_advance", advance)


def test_a_sweep_goes_on_where_each_trial_stands(workplace, capsys, monkeypatch):
    config = workplace(seed=[3, 4, 5])
    with monkeypatch.context() as patch:
        stop_at(25, patch)
        assert main("-C", config) == 1
    assert "3 of 3 trials did not finish" in capsys.readouterr().err
    run = the_run()
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "seed_3"]
    assert main("--resume", str(run)) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "0 of 3 trials are finished"
    assert told[1].startswith("reproduction mode: ")
    for seed in (3, 4, 5):
        assert (run / f"seed_{seed}" / "finished.json").exists()
        returns = (run / f"seed_{seed}" / "csv" / "scalars" / "eval" / "return.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in returns] == ["16", "20", "40"]
    assert main("--resume", str(run)) == 0
    assert capsys.readouterr().out == "3 of 3 trials are finished\n"


def test_a_run_without_a_checkpoint_says_that_it_begins_again(workplace, capsys):
    assert main("-C", workplace(total_timesteps=24)) == 0
    folder = the_run() / "seed_3"
    (folder / "finished.json").unlink()  # as if it had been killed,
    (folder / ".lock").unlink()  # and copied without the files that `*` leaves out
    assert not (folder / "checkpoints").exists()
    capsys.readouterr()
    assert main("--resume", str(folder)) == 0
    assert (
        f"{folder} has no checkpoint: it begins again, and its results are replaced\n"
        in capsys.readouterr().out
    )


def test_a_run_of_the_legacy_pipeline_is_not_trained_again(workplace, capsys):
    assert train_rl_agents.main(["-C", workplace()]) == 0
    folder = the_run() / "seed_3"
    (folder / "evaluations.npz").unlink()  # as before its first evaluation
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main("--resume", str(folder)) == 2
    assert f"error: --resume: {folder} is of the legacy pipeline, which keeps no" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_describes_a_trial_is_a_config_as_well(workplace, tmp_path):
    assert main("-C", workplace(total_timesteps=24), "--quiet") == 0
    first = the_run() / "seed_3"
    assert main("-C", str(first / "trial_config.json"), "training_time=5") == 2
    assert main("-C", str(first / "trial_config.json"), "save_dir=again", "--quiet") == 0
    (second,) = Path("again").glob("training_*/seed_3")
    assert (second / "network_params.pth").read_bytes() == (first / "network_params.pth").read_bytes()


def test_a_long_way_after_the_last_evaluation_is_told(workplace, capsys):
    assert main("-C", workplace(total_timesteps=39)) == 0
    assert "; the last 19 of 39 timesteps leave no model: evaluations keep it\n" in capsys.readouterr().out
    assert main("-C", workplace()) == 0
    assert "leave no model" not in capsys.readouterr().out
    legacy = json.loads(Path(workplace(total_timesteps=3)).read_text())
    del legacy["learning_starts"]
    Path("legacy.json").write_text(json.dumps(legacy))
    assert main("-C", "legacy.json") == 0
    assert "; it ends before timestep 2000: nothing is learned, and no model" in capsys.readouterr().out


def test_a_folder_in_use_is_refused(workplace, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(10, patch)
        assert main("-C", workplace()) == 1
    folder = the_run() / "seed_3"
    before = sorted(path.name for path in folder.iterdir())
    capsys.readouterr()
    with locked(folder):
        assert main("--resume", str(folder)) == 2
    assert capsys.readouterr().err == f"error: --resume: another run writes into {folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == before
    assert main("--resume", str(folder)) == 0


RESULTS = ("evaluations.npz", "network_params.pth", "csv/scalars/eval/return.csv")


def spoiled(path, content):
    path.unlink() if content is None else path.write_bytes(path.read_bytes()[:content])


@pytest.mark.parametrize("content", [None, 10])
@pytest.mark.parametrize("name", RESULTS)
def test_lost_results_of_a_finished_run_are_made_again(name, content, workplace, capsys):
    assert main("-C", workplace(checkpoint_every=6), "--quiet") == 0
    folder = the_run() / "seed_3"
    expected = {each: (folder / each).read_bytes() for each in (*RESULTS, "finished.json")}
    spoiled(folder / name, content)
    assert main("--resume", str(folder), "--quiet") == 0
    assert {each: (folder / each).read_bytes() for each in expected} == expected


def test_lost_results_that_no_checkpoint_gives_back_are_refused(workplace, capsys):
    assert main("-C", workplace(checkpoint_every=0), "--quiet") == 0
    folder = the_run() / "seed_3"
    (folder / "network_params.pth").unlink()
    assert main("--resume", str(folder), "--quiet") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --resume: {folder} is finished, but {folder / 'network_params.pth'}: ")


# ---- lost terminals


def main_without_output(config, target):
    """The command line where nobody reads what it prints."""
    if target == "closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(target, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(writing, number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))  # noqa: SIM115
    os._exit(main("-C", config, "--verbose"))


@pytest.mark.parametrize("target", ["closed pipe", "/dev/full"])
def test_a_run_that_nobody_listens_to_goes_on(target, workplace):
    arguments = (workplace(), target)
    process = multiprocessing.get_context("fork").Process(target=main_without_output, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (the_run() / "seed_3" / "finished.json").exists()


# ---- disk


def limited_main(config):
    """The command line where no file may have more than 60 kB, as at the end of a quota."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    os._exit(main("-C", config, "--quiet"))


def test_a_quota_ends_a_trial_in_one_line_and_leaves_nothing_half_written(workplace, capfd):
    config = workplace(checkpoint_every=12)
    process = multiprocessing.get_context("fork").Process(target=limited_main, args=(config,))
    process.start()
    process.join()
    assert process.exitcode == 1
    *warnings, failure, summary = capfd.readouterr().err.splitlines()
    starts = [f"no checkpoint at timestep {t}: " for t in (12, 24, 36)]
    starts += [f"timestep {t}: results not written, the run goes on: " for t in (16, 20, 40)]
    assert all(sum(line.startswith(start) for line in warnings) == 1 for start in starts)
    assert len(warnings) == len(starts)
    assert failure.startswith("trial seed_3 failed: OSError: the results could not be written: ")
    assert summary == "1 of 1 trials did not finish: seed_3"
    folder = the_run() / "seed_3"
    assert list((folder / "checkpoints").iterdir()) == []
    assert not (folder / "network_params.pth").exists()
    assert EvaluationRecord.load(folder).timesteps == [16, 20, 40]
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
    assert main("--resume", str(folder), "--quiet") == 0


def test_a_full_disk_is_named(workplace, capsys, monkeypatch):
    def full(self, directory):
        raise RuntimeError("unexpected pos 64 vs 0")  # what torch makes of it

    monkeypatch.setattr(TorchRLTrainer, "_advance", full)
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert main("-C", workplace()) == 1
    failure, _ = capsys.readouterr().err.splitlines()
    folder = the_run() / "seed_3"
    told = f"there is no space left: make some, then marinenav train --resume {folder} ("
    assert f"RuntimeError: unexpected pos 64 vs 0; {told}" in failure


# ---- memory


def test_a_replay_that_does_not_fit_is_refused_before_anything_is_written(workplace, capsys):
    assert main("-C", workplace(buffer_size=10**10)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: key 'buffer_size': 10000000000 transitions need 3,120.0 GB")
    assert error.endswith(" are free\n")
    assert list(Path().iterdir()) == []


def test_trials_side_by_side_share_the_memory(monkeypatch):
    (trial,) = make_trials(SMALL | {"buffer_size": 1_000_000})
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**9)
    memory.check_memory(trial, "cpu", at_once=3)
    with pytest.raises(ConfigError, match=r"in each of 4 trials need 1\.2 GB .* 1\.0 GB are free"):
        memory.check_memory(trial, "cpu", at_once=4)


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    machine = memory.free_bytes(torch.device("cpu"))
    assert machine > 10_000
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory.free_bytes(torch.device("cpu")) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) > 10_000


def test_the_estimate_is_the_storage(tmp_path):
    """A full replay takes what was said, so that the check neither lets pass nor refuses too much."""
    from torchrl_gpu.experiment import build_trainer

    (trial,) = make_trials(SMALL | {"agent_type": "AC-IQN", "buffer_size": 30})
    trainer = build_trainer(trial, "cpu", tmp_path)
    trainer.learn(tmp_path)
    stored = sum(value.nbytes for value in trainer.replay.buffer.storage.get(slice(0, 30)).values(True, True))
    assert stored == memory.replay_bytes(trial)


def test_memory_that_runs_out_while_training_is_one_line(workplace, capsys, monkeypatch):
    def exhausted(self, directory):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(TorchRLTrainer, "_advance", exhausted)
    assert main("-C", workplace()) == 1
    failure, _ = capsys.readouterr().err.splitlines()
    assert failure.startswith(
        "trial seed_3 failed: ShortOfMemoryError: CUDA out of memory. Tried to allocate"
    )
    assert "(key 'buffer_size': 1000 transitions take 0.0 GB; key 'num_envs': 1)" in failure
