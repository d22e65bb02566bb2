"""Trials stopped early because others do better: asynchronous successive halving (Li et al. 2020, "ASHA").

Ray Tune decides; the trials are those of any sweep on Ray, in their own folders.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

from marinenav_env.files import write_text
from torchrl_gpu.runs.folder import STOPPED_FILE
from torchrl_gpu.settings.parse import ConfigError, Trial

RETURNS = Path("csv", "scalars", "eval", "return.csv")
FIRST = 16
"""The first trials are stopped after 1 in so many of their timesteps, then at four times as many."""


class Halving:
    """Stops a trial after an evaluation whose mean return is below the best quarter of those before it there.

    Takes a scheduler of Ray Tune; its methods may be called by several threads.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self._lock = Lock()
        self._told: dict[Path, int] = {}  # rows of each trial that the scheduler knows

    def stops(self, folder: Path, trial: Trial) -> bool:
        """Whether a trial, by its evaluations in its folder so far, is to be stopped."""
        with self._lock:
            who, known = SimpleNamespace(trial_id=str(folder)), self._told.get(folder)
            if known is None:
                self.scheduler.on_trial_add(None, who)
            rows = _rows(folder / RETURNS)
            self._told[folder] = max(len(rows), known or 0)
            results = [{"timestep": step, "return": value} for step, value in rows[known or 0 :]]
            answers = [self.scheduler.on_trial_result(None, who, result) for result in results]
        return "STOP" in answers and rows[-1][0] < trial.schedule.last_evaluation


def halving_of(trials: Sequence[Trial]) -> Halving | None:
    """What stops trials early, if they ask for it. ConfigError: Ray Tune is not installed."""
    if not any(trial.search.scheduler for trial in trials):
        return None
    try:
        from ray.tune.schedulers import ASHAScheduler  # an extra
    except ImportError:
        raise ConfigError("key 'scheduler': Ray Tune is not installed; pip install marinenav[ray]") from None
    end = max(trial.schedule.total_timesteps for trial in trials)
    return Halving(
        ASHAScheduler(
            time_attr="timestep",
            metric="return",
            mode="max",
            max_t=end + 1,
            grace_period=max(1, end // FIRST),
            stop_last_trials=False,
        )
    )


def mark_stopped(folder: Path) -> None:
    """Note that the trial of a folder was stopped early, so that nobody goes on with it."""
    write_text(folder / STOPPED_FILE, json.dumps({"timestep": _rows(folder / RETURNS)[-1][0]}))


def _rows(path: Path) -> list[tuple[int, float]]:
    """Whole rows of a series."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    pairs = [line.split(",") for line in lines if line.endswith("\n")]
    return [(int(step), float(value)) for step, value in pairs]
