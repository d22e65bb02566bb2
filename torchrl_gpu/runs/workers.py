"""The processes in which the trials of a sweep run, where they do not run in turn in one."""

import json
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from torchrl_gpu.runs.job import Job
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.settings.parse import ConfigError, Trial
from torchrl_gpu.watch.terminal import lasting_output


class Workers:
    """The processes of a sweep on this machine: one a trial, so that a killed one takes no other with it.

    `torchrl_gpu.runs.cluster` has those of a cluster.
    """

    def __init__(self) -> None:
        self.active: set[BaseProcess] = set()

    def check(self, trials: Sequence[Trial], device: str) -> None:
        """Refuse trials that these workers have no device for, or cannot stop early."""
        check_device(device)
        for scheduler in filter(None, (trial.search.scheduler for trial in trials)):
            raise ConfigError(f"key 'scheduler': {json.dumps(scheduler)} needs --ray")

    def run(self, job: Job) -> bool:
        """Run a job in a fresh process; it inherits no random state (Defect T9). True when done."""
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(job,))
        try:
            process.start()
        except OSError as error:
            print(f"trial {', '.join(job.names)} failed: cannot start a process: {error}", file=sys.stderr)
            return False
        self.active.add(process)
        process.join()
        self.active.discard(process)
        if process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            print(f"trial {', '.join(job.names)} failed: its process was ended by {name}", file=sys.stderr)
        return process.exitcode == 0

    def terminate(self) -> None:
        """Pass a SIGTERM on."""
        for process in tuple(self.active):
            process.terminate()

    def interrupt(self) -> None:
        """Let those under way save and stop; processes of a terminal have heard it themselves."""

    def close(self) -> None:
        """Let go of what was held for all jobs."""


@contextmanager
def terminated_with_us(workers: Workers) -> Iterator[None]:
    """Pass SIGTERM on to the workers, and end the sweep as an interruption."""

    def forward(signum: int, frame: Any) -> None:
        workers.terminate()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not ours to handle
        return
    previous = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@lasting_output()
def work(job: Job) -> bool:
    """What a worker does: one job. True when done."""
    try:
        return job.run()
    except KeyboardInterrupt as stop:
        print(interrupted(stop), file=sys.stderr, flush=True)
        return False


def _work(job: Job) -> None:
    """A job's outcome as exit status."""
    sys.exit(0 if work(job) else 1)


def interrupted(stop: KeyboardInterrupt) -> str:
    """What there is to say about an interruption."""
    return f"interrupted; {stop}" if str(stop) else "interrupted"
