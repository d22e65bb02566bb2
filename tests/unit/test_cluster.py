"""How a trial on a Ray cluster is followed: what it says, and whether it still makes steps."""

import os
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

from tests.unit.fake_ray import ERRORS, RayError
from tests.unit.test_config import config
from torchrl_gpu.runs import cluster
from torchrl_gpu.runs.folder import is_locked, last_sign, locked
from torchrl_gpu.runs.job import Job
from torchrl_gpu.runs.output import OUTPUT, Output, Speech
from torchrl_gpu.settings.parse import make_trials


class TaskCancelledError(RayError):
    pass


class Task:
    """A trial's process: it owns the folder, makes so many steps, then finishes or hangs."""

    def __init__(self, job, steps, finishes):
        self.folder, self.left, self.finishes = job.folder, steps, finishes
        self.forced, self.owned = False, ExitStack()
        self.folder.mkdir(parents=True, exist_ok=True)

    def go_on(self, now):
        if self.left < 0:
            return
        if not is_locked(self.folder):
            self.owned.enter_context(locked(self.folder))
        os.utime(self.folder / ".lock", ns=(now, now))
        self.left -= 1
        if self.left < 0 and self.finishes:
            self.owned.close()

    @property
    def done(self):
        return self.forced or (self.left < 0 and self.finishes)


class Ray:
    """As much of it as tasks need; a wait lets its time pass, and the task make a step in it."""

    exceptions = SimpleNamespace(**{error.__name__: error for error in (*ERRORS, TaskCancelledError)})

    def __init__(self, *tasks):
        self.tasks, self.now, self.begun = list(tasks), 100.0, []

    def remote(self, **options):
        return lambda function: SimpleNamespace(options=lambda **kinds: SimpleNamespace(remote=self.begin))

    def begin(self, job, directory):
        self.begun.append(Task(job, *self.tasks.pop(0)))
        return self.begun[-1]

    def wait(self, tasks, timeout):
        self.now += timeout
        tasks[0].go_on(int(self.now * 1e9))
        return ([tasks[0]] if tasks[0].done else []), []

    def get(self, task):
        return task.finishes, b"", b""

    def cancel(self, task, force, recursive):
        task.forced = force
        task.owned.close()


def run(tmp_path, monkeypatch, *tasks, **keys):
    """Run a trial whose processes are these tasks; whether it finished, and what Ray saw."""
    ray = Ray(*tasks)
    clock = SimpleNamespace(monotonic=lambda: ray.now, sleep=lambda seconds: None)
    monkeypatch.setattr(cluster, "time", clock)
    (trial,) = make_trials(config(seed=9, save_dir=str(tmp_path), **keys))
    workers = cluster.RayWorkers(ray, "local", 1)
    return workers.run(Job(None, trial, tmp_path / "run" / trial.name, "now", "cpu")), ray


def test_a_trial_without_a_step_for_too_long_is_ended_and_begun_again(tmp_path, monkeypatch, capsys):
    done, ray = run(tmp_path, monkeypatch, (50, False), (200, True), trial_timeout=20)
    assert done
    assert [task.forced for task in ray.begun] == [True, False]
    assert 100 + 251 * cluster.INTERVAL + 20 < ray.now < 100 + 255 * cluster.INTERVAL + 20
    assert capsys.readouterr().err == (
        "trial seed_9: its worker was lost (no step for 20 s); another one goes on from its last checkpoint\n"
    )


def test_a_trial_that_always_hangs_has_failed(tmp_path, monkeypatch, capsys):
    done, ray = run(tmp_path, monkeypatch, *[(1, False)] * 20, trial_timeout=10)
    assert not done
    assert len(ray.begun) == 20
    assert capsys.readouterr().err.endswith("trial seed_9 failed: its worker was lost 20 times\n")


def test_steps_however_slow_are_no_hanging(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "INTERVAL", 9.0)
    done, ray = run(tmp_path, monkeypatch, (50, True), trial_timeout=10)
    assert (done, len(ray.begun)) == (True, 1)


def test_a_trial_that_waits_for_room_does_not_hang(tmp_path, monkeypatch):
    silence = cluster.Silence(tmp_path)
    clock = SimpleNamespace(monotonic=lambda: 1e6)
    monkeypatch.setattr(cluster, "time", clock)
    assert silence() == 0
    with locked(tmp_path):
        assert silence() == 0
        clock.monotonic = lambda: 1e6 + 5
        assert silence() == 5
    assert cluster.Silence(tmp_path)() == 0  # of one before it


def test_a_step_is_shown_once_a_second(tmp_path, monkeypatch):
    assert last_sign(tmp_path) is None
    with locked(tmp_path) as beat:
        os.utime(tmp_path / ".lock", ns=(5, 5))
        beat()
        assert last_sign(tmp_path) == 5
        monkeypatch.setattr("torchrl_gpu.runs.folder.BEAT", 0.0)
        beat()
        assert last_sign(tmp_path) > 5


# ---- what is said


class SmallFile:
    """One that takes ten bytes."""

    def __init__(self, path, mode, buffering):
        self.file = path.open(mode, buffering)

    def write(self, data):
        room = 10 - self.file.tell()
        if not room:
            raise OSError(28, "No space left on device")
        return self.file.write(data[:room])

    def close(self):
        self.file.close()


def test_what_the_disk_does_not_take_is_shown_all_the_same(tmp_path, monkeypatch, capsys):
    path = tmp_path / "said"
    output = Output(path, "seed_5", SimpleNamespace(write=lambda text: print(text, end=""), flush=int))
    with monkeypatch.context() as full:
        full.setattr("torchrl_gpu.runs.output.open", SmallFile, raising=False)
        with Speech(path) as speech:
            for line in ("first", "sécond", "third"):
                print(line, file=speech)
    assert path.read_bytes() == "first\nséc".encode()
    assert speech.rest == b"ond\nthird\n"
    output.show()
    assert capsys.readouterr().out == "seed_5: first\n"
    output.show(speech.rest)
    output.show()
    assert capsys.readouterr().out == "seed_5: sécond\nseed_5: third\n"


def test_output_lies_beside_the_folders_of_the_trials():
    (trial,) = make_trials(config(seed=9))
    (out, _), (err, _) = cluster.streams_of(Job(None, trial, Path("run") / trial.name, "now", "cpu"))
    assert (out, err) == (Path("run", OUTPUT, "seed_9.out"), Path("run", OUTPUT, "seed_9.err"))
