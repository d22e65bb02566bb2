"""The table of a sweep: it comes where a trial begins or ends, now and then otherwise, and at the end."""

import fcntl
import os
import time

import pytest

from tests.unit.test_config import config
from torchrl_gpu.runs import standing, sweep
from torchrl_gpu.runs.folder import is_locked, locked, mark_finished
from torchrl_gpu.runs.job import Job
from torchrl_gpu.settings.parse import make_trials


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(standing, "time", clock)
    return clock


@pytest.fixture
def jobs(tmp_path):
    trials = make_trials(config(seed=[0, 1], total_timesteps=6000))
    return [Job(train, trial, tmp_path / trial.name, "stamp", "cpu") for trial in trials]


def train(trial, folder, device):
    """A trial of a moment, whose second seed fails."""
    if trial["seed"] == 1:
        raise ValueError("no")
    mark_finished(folder, 6001, 7)


def table(capsys):
    """Names, states, and timesteps of how many."""
    header, *lines = capsys.readouterr().out.strip().splitlines() or [""]
    assert not header or header.split()[:5] == ["run", "state", "agent", "timesteps", "of"]
    return [tuple(line.split()[k] for k in (0, 1, 3, 4)) for line in lines]


def test_a_table_comes_with_news_once_a_minute_and_without_them_seldom(clock, jobs, capsys):
    shown = standing.Standing(jobs)
    jobs[0].prepare()
    with locked(jobs[0].folder):
        clock.now = standing.OFTEN - 1
        shown.look()
        assert table(capsys) == []
        clock.now = standing.OFTEN
        shown.look()
        running = [("seed_0", "running", "0", "6,000"), ("seed_1", "waiting", "0", "6,000")]
        assert table(capsys) == running
        for clock.now in (standing.OFTEN + 1, standing.OFTEN + standing.SELDOM - 1):
            shown.look()
            assert table(capsys) == []
        clock.now += 1
        shown.look()
        assert table(capsys) == running
    mark_finished(jobs[0].folder, 6001, 7)
    clock.now += standing.OFTEN
    shown.look()
    assert table(capsys)[0] == ("seed_0", "finished", "6,001", "6,000")


def test_a_damaged_file_is_passed_over(clock, jobs, capsys):
    jobs[0].prepare()
    (jobs[0].folder / "trial_config.json").write_text("[")
    standing.Standing(jobs).show()
    assert table(capsys) == []


@pytest.mark.parametrize("num_procs", [1, 2])
def test_a_sweep_ends_with_the_table(num_procs, jobs, capsys):
    assert sweep.run_jobs(jobs, num_procs, shown=True) == 1
    assert [line[:2] for line in table(capsys)] == [("seed_0", "finished"), ("seed_1", "failed")]


@pytest.mark.parametrize(("number", "shown"), [(1, True), (2, False)])
def test_one_trial_or_a_quiet_sweep_shows_none(number, shown, jobs, capsys):
    sweep.run_jobs(jobs[:number], 1, shown=shown)
    assert capsys.readouterr().out == ""


def test_a_look_at_a_folder_keeps_nobody_from_it(tmp_path, monkeypatch):
    with locked(tmp_path):
        pass
    looking = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(looking))
    with locked(tmp_path):
        assert is_locked(tmp_path)
