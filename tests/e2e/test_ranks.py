"""A run on two ranks: one schedule, one set of results, and nothing lost when a rank is killed."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torchrl.checkpoint import Checkpoint, StateDictCheckpointAdapter

import torchrl_gpu.evaluation.batched
from tests.e2e.test_kill_and_resume import die, results
from tests.e2e.test_train_cli import SMALL
from tests.unit.test_ranks import on_ranks
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.torchrl_trainer import TorchRLTrainer

pytestmark = pytest.mark.forks

KEYS = {"num_envs": 4, "backend": "torch", "total_timesteps": 80, "eval_freq": 80, "checkpoint_every": 20}
DONE = {"timesteps": 84, "updates": 17}  # those of one process with four environments


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config in an empty current folder, with short evaluations."""
    monkeypatch.setattr(torchrl_gpu.evaluation.batched, "EPISODE_LIMIT", 10)
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(SMALL | KEYS | {"seed": 5}))
    return "config.json"


def train(ranks, *arguments):
    """The command on one rank."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return train_torchrl_gpu.main(arguments)
    except SystemExit as stop:
        return stop.code


def run_folder():
    (run,) = Path("runs").iterdir()
    return run


class Kept:
    """Takes the state of a checkpoint."""

    def load_state_dict(self, state):
        self.state = state

    def state_dict(self):
        return {}


def state_of(folder):
    """The newest checkpoint of a rank."""
    kept, checkpoint = Kept(), Checkpoint(format="archive")
    checkpoint.register("run", kept, adapter=StateDictCheckpointAdapter("consolidated"))
    checkpoint.load(max((folder / "checkpoints").glob("checkpoint-*")), components={"run"})
    return kept.state


def test_two_ranks_make_one_run(config, capfd):
    assert on_ranks(2, train, "-C", config) == [0, 0]
    out, err = capfd.readouterr()
    lines = [line.split("  ")[0] for line in out.splitlines() if line.startswith("timestep ")]
    assert lines == [f"timestep {t} of 80" for t in (16, 80)]
    assert out.count("Run finished") == 1
    assert err == ""
    folder = run_folder() / "seed_5"
    assert json.loads((folder / "finished.json").read_text()) == DONE
    first, second = (state_of(each) for each in (folder, folder / "ranks" / "1"))
    for kind in ("local", "target"):
        torch.testing.assert_close(first["learner"][kind], second["learner"][kind], rtol=0, atol=0)
    rows = [state["replay"]["transitions"]["row"] for state in (first, second)]
    assert [len(each) for each in rows] == [40, 40]
    assert not torch.equal(*rows)
    assert first["timestep"] == second["timestep"] == 80


@pytest.mark.slow
def test_one_process_makes_the_same_schedule(config):
    assert on_ranks(1, train, "-C", config) == [0]
    assert json.loads((run_folder() / "seed_5" / "finished.json").read_text()) == DONE


def killed(ranks, victim, step, number, *arguments):
    """The command, in which one rank is sent a signal at its ``step``-th vector step."""
    advance, steps = TorchRLTrainer._advance, []

    def counted(self, directory):
        steps.append(1)
        if ranks.number == victim and len(steps) == step:
            die() if number == signal.SIGKILL else os.kill(os.getpid(), number)
        advance(self, directory)

    TorchRLTrainer._advance = counted
    return train(ranks, *arguments)


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_which_goes_on_as_if_nothing_had_happened(config, capfd):
    assert on_ranks(2, train, "-C", config) == [0, 0]
    run_folder().rename("whole")
    expected = results(Path("whole"))
    assert on_ranks(2, killed, 1, 15, signal.SIGKILL, "-C", config) == [1, -signal.SIGKILL]
    assert "rank 0: trial seed_5 failed: RuntimeError" in capfd.readouterr().err
    run = run_folder()
    assert on_ranks(1, train, "--resume", str(run)) == [2]
    assert "is shared by 2 processes, here are 1; go on with 2" in capfd.readouterr().err
    assert on_ranks(2, train, "--resume", str(run), "--quiet") == [0, 0]
    assert results(run) == expected


@pytest.mark.slow
def test_ranks_killed_while_they_save_for_the_first_time_begin_again(config):
    assert on_ranks(2, killed, 1, 8, signal.SIGKILL, "-C", config) == [1, -signal.SIGKILL]
    run = run_folder()
    (saved,) = (run / "seed_5" / "ranks" / "1" / "checkpoints").iterdir()
    saved.unlink()
    assert on_ranks(2, train, "--resume", str(run), "--quiet") == [0, 0]
    assert json.loads((run / "seed_5" / "finished.json").read_text()) == DONE


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_at_one_step(config, capfd):
    assert on_ranks(2, killed, 1, 12, signal.SIGTERM, "-C", config) == [1, 1]
    folder = run_folder() / "seed_5"
    names = [
        max(path.name for path in each.glob("checkpoints/*")) for each in (folder, folder / "ranks" / "1")
    ]
    assert names[0] == names[1]
    err = capfd.readouterr().err
    timestep = int(names[0].split("-")[1].split(".")[0])
    command = "torchrun --nproc-per-node 2 -m torchrl_gpu.train_torchrl_gpu --resume"
    assert f"interrupted; to go on from timestep {timestep}: {command} {folder} -D cpu\n" in err


def test_what_is_refused_is_refused_once(config, capfd):
    assert on_ranks(2, train, "-C", config, "num_envs=1") == [2, 2]
    assert on_ranks(2, train, "-C", config, "-P", "2") == [2, 2]
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "key 'num_envs': 1 cannot be shared by 2 processes; it must be a multiple of 2",
        "error: arguments -P and --ray: not allowed with torchrun, whose processes train one trial "
        "(see train_torchrl_gpu -h)",
    ]
    assert not Path("runs").exists()
