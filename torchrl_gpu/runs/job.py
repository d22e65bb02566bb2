"""A trial about to run, or those of several seeds: folder, run, and the report of a failure."""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marinenav_env.files import write_text
from torchrl_gpu.program import typed
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.runs.folder import FAILURE_FILE, TRIAL_FILE
from torchrl_gpu.settings.trial import STAMP, Trial

RunTrial = Callable[..., None]
"""Runs one trial: (trial, its folder, device). A module-level function, so that a process can be given it.

With trials that are trained together in one process it is also given ``others``, those but the first by their
folders.
"""

ALMOST_NOTHING = 2**20
"""Bytes free on a disk below which a failure is probably due to it; torch does not say so."""


@dataclass
class Job:
    """One trial about to run, or those of several seeds together."""

    run_trial: RunTrial
    trial: Trial
    folder: Path  # not yet there, or with `trial_config.json` in it if the trial is resumed
    stamp: str  # time stamp shared by the trials of a sweep
    device: str
    resumed: bool = False  # whether the folder may be there already
    ranks: Ranks = ALONE
    others: tuple["Job", ...] = ()  # of the seeds that are trained together with it

    @property
    def names(self) -> list[str]:
        """Names of its trials."""
        return [job.trial.name for job in (self, *self.others)]

    @property
    def own_folder(self) -> Path:
        """Where this rank writes."""
        return self.ranks.folder(self.folder)

    def prepare(self) -> None:
        """Create the folder and ``trial_config.json`` if they are new."""
        self.ranks.from_first(self._create)
        self.own_folder.mkdir(parents=True, exist_ok=True)
        (self.own_folder / FAILURE_FILE).unlink(missing_ok=True)

    def _create(self) -> None:
        if not (self.folder / TRIAL_FILE).exists():
            self.folder.mkdir(exist_ok=self.resumed)
            write_text(self.folder / TRIAL_FILE, json.dumps(trial_config(self.trial, self.stamp)))

    def run(self) -> bool:
        """Prepare, run, report a failure. True when done."""
        try:
            for job in (self, *self.others):
                job.prepare()
            others = {job.own_folder: job.trial for job in self.others}
            with one_thread():
                self.run_trial(
                    self.trial, self.own_folder, self.device, **({"others": others} if others else {})
                )
        except Exception as error:
            self._report(error)
            return False
        return True

    def _report(self, error: Exception) -> None:
        """One line for the user, from whichever rank; the traceback goes into its folder, if it can."""
        rank = f"rank {self.ranks.number}: " if self.ranks.count > 1 else ""
        who = f"trial{'s' * bool(self.others)} {', '.join(self.names)}"
        line = " ".join(f"{rank}{who} failed: {type(error).__name__}: {error}".split())
        if shutil.disk_usage(self.folder.parent).free < ALMOST_NOTHING:
            line += f"; there is no space left: make some, then {typed('train')} --resume {self.folder}"
        try:
            for job in (self, *self.others):
                write_text(job.own_folder / FAILURE_FILE, traceback.format_exc())
            line += f" (traceback in {self.own_folder / FAILURE_FILE})"
        except OSError:
            pass
        print(line, file=sys.stderr if self.ranks.first else sys.__stderr__, flush=True)


def together(jobs: Sequence[Job]) -> list[Job]:
    """Jobs, of which those of seeds that are trained together are one."""
    groups: dict[Path, list[Job]] = {}
    for job in jobs:
        leader = job.folder.parent / job.trial.leader if job.trial.leader else job.folder
        groups.setdefault(leader, []).append(job)
    return [replace(first, others=tuple(others)) for first, *others in groups.values()]


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch uses one CPU thread, unless OMP_NUM_THREADS says otherwise.

    Networks and batches are small, and threads that wait for each other cost several times the work where
    cores are shared: with a second thread the tensor world was measured four times slower there.
    """
    import torch

    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trial_config(trial: Trial, stamp: str) -> dict[str, Any]:
    """The content of ``trial_config.json``: the trial's keys, the stamp, and the schedules as written."""
    schedules = ("training_schedule", "eval_schedule")
    scalars = {key: value for key, value in trial.values.items() if key not in schedules}
    return scalars | {STAMP: stamp} | {key: trial.values[key] for key in schedules}
