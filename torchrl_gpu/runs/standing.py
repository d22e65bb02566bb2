"""How the trials of a sweep stand: a table where something has happened, and at the end."""

import time
from collections.abc import Iterable
from contextlib import suppress

from torchrl_gpu.runs.job import Job
from torchrl_gpu.runs.listing import list_trials, table_of

OFTEN = 60.0
"""Seconds between two tables, at least: a trial begins, ends or fails."""
SELDOM = 600.0
"""Seconds after which a table comes in any case."""


class Standing:
    """The table of the trials of some jobs.

    It is read from their folders, so that it does not matter where they run.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._trials = {each.folder: each.trial for job in jobs for each in (job, *job.others)}
        self._states: list[str] = []
        self._shown = time.monotonic()

    def look(self) -> None:
        """Print the table if it is time for it."""
        if time.monotonic() - self._shown >= OFTEN:
            self._print(only_news=time.monotonic() - self._shown < SELDOM)

    def show(self) -> None:
        """Print the table."""
        self._print(only_news=False)

    def _print(self, only_news: bool) -> None:
        with suppress(OSError, ValueError):  # a file that has just gone, or one that is damaged: not now
            infos = list_trials(self._trials)
            states = [info.state for info in infos]
            if only_news and states == self._states:
                return
            self._states, self._shown = states, time.monotonic()
            print(f"\n{table_of(infos, lambda folder: folder.name)}\n", flush=True)
