"""Trials of a sweep as tasks of a Ray cluster, on this machine or on many: ``--ray``.

Run folders are the same as without, and are written where the trials run: on several machines ``save_dir``
must be a folder that all of them share, and every one has this project installed.
"""

import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torchrl_gpu.runs.folder import is_finished, is_locked, last_sign
from torchrl_gpu.runs.halving import Halving, halving_of, mark_stopped
from torchrl_gpu.runs.job import Job
from torchrl_gpu.runs.output import Output, Speech, streams_of
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.runs.workers import Workers, work
from torchrl_gpu.settings.parse import ConfigError, Trial
from torchrl_gpu.settings.trial import TOGETHER

LOCAL = "local"
"""Address of a cluster on this machine alone, that begins and ends with the sweep."""
RESTARTS = 20
"""Lost workers of a trial after which it has failed: probably it is what kills them."""
MOST = 256
"""Trials that wait for a cluster at a time; each is a thread here."""
INTERVAL = 0.5
"""Seconds after which it is looked for."""
ENDING = 60.0
"""Seconds that a process which hangs has to let go of its folder; Ray ends it after 5."""
TRIES = 3
"""To start a cluster: Ray gives up after 30 s, which a busy machine may take the first time."""
STORE = 80 * 2**20
"""Bytes of Ray's memory for objects, hardly more than it asks for: trials exchange none."""


class HangingError(Exception):
    """A trial has made no step for too long; the message says for how long."""


class RayWorkers(Workers):
    """Tasks of a Ray cluster: one a trial, each in a process of its own, at most ``most`` at a time."""

    def __init__(self, ray: ModuleType, address: str, most: int) -> None:
        super().__init__()
        self.ray, self.address = ray, address
        self.most = min(most, (os.cpu_count() or 1) if address == LOCAL else MOST)
        self.on_gpus = self.stopping = False
        self.halving: Halving | None = None
        self._task = ray.remote(max_calls=1, max_retries=0)(_trial)
        self._tasks: set[Any] = set()  # under way

    def check(self, trials: Sequence[Trial], device: str) -> None:
        """See `Workers.check`; connects."""
        if device not in ("cpu", "cuda"):
            raise ConfigError(
                f"argument -D/--device: {device!r} is not allowed with --ray, which chooses the GPU itself; "
                "allowed are cpu and cuda"
            )
        for count in [trial[TOGETHER] for trial in trials if trial.leader]:
            raise ConfigError(f"key {TOGETHER!r}: {count} is for one process; it is not allowed with --ray")
        if self.address == LOCAL:
            check_device(device)
        self.on_gpus = device == "cuda"
        self.halving = halving_of(trials)
        options = {"num_cpus": os.cpu_count()} | ({} if self.on_gpus else {"num_gpus": 0})
        _connect(self.ray, self.address, "argument --ray", options)
        for trial in trials:
            self._check_room(trial)

    def run(self, job: Job) -> bool:
        """Run a job as a task; if its worker is lost another goes on from its last checkpoint."""
        with self._room_for(job.trial) as room:
            return self._run(job, room)

    def _run(self, job: Job, room: dict[str, Any]) -> bool:
        errors = self.ray.exceptions
        for _ in range(RESTARTS):
            if self.stopping:
                break
            try:
                return self._result(replace(job, resumed=True), room)
            except errors.TaskCancelledError:
                break  # and its process has saved
            except HangingError as error:
                self._say_lost(job, str(error))
            except errors.RayTaskError as error:
                return _failed(job, f"{type(error.cause).__name__}: {error.cause}")
            except (errors.LocalRayletDiedError, errors.RaySystemError) as error:
                return _failed(job, f"the cluster was lost: {type(error).__name__}")
            except errors.RayError as error:
                self._say_lost(job, type(error).__name__)
        else:
            return _failed(job, f"its worker was lost {RESTARTS} times")
        return False

    def _say_lost(self, job: Job, why: str) -> None:
        goes_on = "" if self.stopping else "; another one goes on from its last checkpoint"
        line = f"trial {job.trial.name}: its worker was lost ({why}){goes_on}"
        print(line, file=sys.stderr, flush=True)

    def terminate(self) -> None:
        """See `Workers`; `interrupt` follows."""

    def interrupt(self) -> None:
        """Ask every trial to save and stop; `run` returns when it has."""
        self.stopping = True
        for task in tuple(self._tasks):
            self._cancel(task)

    def close(self) -> None:
        """Leave the cluster, or end that of this machine."""
        self.ray.shutdown()

    @contextmanager
    def _room_for(self, trial: Trial) -> Iterator[dict[str, Any]]:
        """What a task takes, with its collectors all at once: parts of two would wait for each other."""
        needs = {"num_cpus": trial.cluster.num_cpus, "num_gpus": self._gpus(trial)}
        if not trial.collect.collectors:
            yield needs
            return
        cores = {"CPU": trial.cluster.num_cpus}
        first = cores | ({"GPU": needs["num_gpus"]} if needs["num_gpus"] else {})
        group = self.ray.util.placement_group([first, *[cores] * trial.collect.collectors])
        strategy = self.ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, 0, True)
        try:
            yield needs | {"scheduling_strategy": strategy}
        finally:
            self.ray.util.remove_placement_group(group)

    def _result(self, job: Job, room: dict[str, Any]) -> bool:
        output = [Output(path, job.trial.name, stream) for path, stream in streams_of(job)]
        limit = job.trial.cluster.trial_timeout or math.inf
        silence = Silence(job.folder)
        task = self._task.options(name=job.trial.name, **room).remote(job, Path.cwd())
        self._tasks.add(task)
        if self.stopping:  # since a moment ago: `interrupt` may not have seen it
            self._cancel(task)
        stopped = hangs = False
        try:
            while not self.ray.wait([task], timeout=INTERVAL)[0]:
                for each in output:
                    each.show()
                if not stopped and self.halving and self.halving.stops(job.folder, job.trial):
                    stopped = True
                    self._cancel(task)
                if silence() > limit:
                    hangs = True
                    self._cancel(task, force=True)
                    raise HangingError(f"no step for {limit:g} s")
            done, *unsaid = self.ray.get(task)
            for each, rest in zip(output, unsaid, strict=True):
                each.show(rest)
            return done or stopped
        except (self.ray.exceptions.TaskCancelledError, HangingError):
            if not stopped:
                raise
            return True
        finally:
            self._tasks.discard(task)
            # A cancelled task is over for Ray at once; its process lets go of the folder when it has saved.
            cancelled = stopped or hangs or self.stopping
            while cancelled and is_locked(job.folder) and silence() < limit + ENDING:
                time.sleep(INTERVAL)
            for each in output:
                each.show()
            if stopped and not is_finished(job.folder):
                mark_stopped(job.folder)

    def _cancel(self, task: Any, force: bool = False) -> None:
        """Let a task's process save and stop, or end it by force: one that hangs does not hear a request."""
        self.ray.cancel(task, force=force, recursive=False)  # a trial needs its collectors to save

    def _gpus(self, trial: Trial) -> float:
        return trial.cluster.num_gpus if self.on_gpus else 0

    def _check_room(self, trial: Trial) -> None:
        """Refuse a trial that would wait for ever."""
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for key, kind, asked in (
            ("num_cpus", "CPU", trial.cluster.num_cpus),
            ("num_gpus", "GPU", self._gpus(trial)),
        ):
            largest = max((machine.get(kind, 0) for machine in machines), default=0)
            if asked > largest:
                raise ConfigError(
                    f"key {key!r}: {asked:g} is more than any machine of the cluster has, {largest:g}"
                )
        count = trial.collect.collectors
        asked = (count + 1) * trial.cluster.num_cpus
        there = sum(machine.get("CPU", 0) for machine in machines)
        if count and asked > there:
            raise ConfigError(
                f"key 'collectors': {count} and the trial take {asked:g} cores of the cluster, "
                f"which has {there:g}; 'num_cpus' {trial.cluster.num_cpus:g} is what each takes"
            )


def _connect(ray: ModuleType, address: str, where: str, of_local: dict[str, Any]) -> None:
    """Connect to a cluster, or start one on this machine with these options; ConfigError, at ``where``."""
    options = {"object_store_memory": STORE, "include_dashboard": False, **of_local}
    options = options if address == LOCAL else {}
    for left in reversed(range(TRIES)):
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **options)
            return
        except Exception as error:  # Ray raises bare ones, as where a busy machine starts it too slowly
            ray.shutdown()
            if not left:
                said = str(error).strip().partition("\n")[0]
                raise ConfigError(f"{where}: no cluster at {address!r}: {said}") from None


@contextmanager
def cluster_of_collectors(trial: Trial) -> Iterator[None]:
    """Within the block a trial's collectors have a cluster: that of its task, or one of its own, here."""
    count, where = trial.collect.collectors, f"key 'collectors': {trial.collect.collectors}"
    if not count:
        yield
        return
    ray = import_ray(where)
    if ray.is_initialized():
        yield
        return
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets one
    _connect(ray, LOCAL, where, {"num_cpus": count * trial.cluster.num_cpus, "num_gpus": 0})
    try:
        yield
    finally:
        ray.shutdown()
        if in_main:
            signal.signal(signal.SIGTERM, handler)


def import_ray(where: str) -> ModuleType:
    """The extra, which takes seconds; ConfigError, at ``where``: it is not installed."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # lines of trials may be alike
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError(f"{where}: Ray is not installed; pip install marinenav[ray]") from None
    return ray


class Silence:
    """Seconds for which a trial has not made a step; 0 until it has begun, from now on, in a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = self._last = last_sign(folder)
        self._since = time.monotonic()

    def __call__(self) -> float:
        """Look again."""
        now = time.monotonic()
        if (sign := last_sign(self.folder)) != self._last:
            self._last, self._since = sign, now
        return now - self._since if self._last != self._before else 0.0


def of_ray(address: str, most: int) -> RayWorkers:
    """Workers of a cluster, which is not yet connected to; ConfigError: Ray is not installed."""
    return RayWorkers(import_ray("argument --ray"), address, most)


def _trial(job: Job, directory: Path) -> tuple[bool, bytes, bytes]:
    """What a worker does, in the folder that relative paths are meant from.

    True when done; what could not be written of what it says, and of what it complains about.
    """
    os.chdir(directory)
    (out, _), (err, _) = streams_of(job)
    out.parent.mkdir(exist_ok=True)
    with (
        Speech(out) as said,
        Speech(err) as complained,
        redirect_stdout(said),
        redirect_stderr(complained),
    ):
        return work(job), said.rest, complained.rest


def _failed(job: Job, why: str) -> bool:
    print(" ".join(f"trial {job.trial.name} failed: {why}".split()), file=sys.stderr, flush=True)
    return False
