"""What a run shows while it trains: a bar on a terminal, else one line per evaluation; and its scalars."""

import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from torchrl_gpu.collect.step import Step
from torchrl_gpu.evaluation.film import PER_SECOND
from torchrl_gpu.evaluation.metrics import EpisodeResult, Metrics
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.watch.loggers import ScalarLog, evaluation_scalars
from torchrl_gpu.watch.statistics import EpisodeStatistics, EpisodeSums, StreamStatistics
from torchrl_gpu.watch.timings import Timings

LOG_POINTS = 500
"""Moments of a run at which its scalars are written, at most."""
MIN_LOG_STEPS = 100
"""Vector steps between two of them, at least: reading statistics makes the host wait for the device."""

BAR_FORMAT = "{n_fmt}/{total_fmt} |{bar}| {rate_fmt}, {remaining} left{postfix}"
"""Of the bar; what matters most comes first, as a narrow terminal cuts off the end."""


class Verbosity(IntEnum):
    """How much a run says: nothing, progress, or also the legacy reports of episodes and evaluations."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2

    @classmethod
    def named(cls, name: str) -> "Verbosity":
        """The one of a name in small letters.

        Raises:
            ValueError: None has it.
        """
        names = {each.name.lower(): each for each in cls}
        if name not in names:
            raise ValueError(f"verbosity is {name!r}; allowed are {', '.join(names)}")
        return names[name]


class Progress:
    """Follows a run: a bar if the output is a terminal, else a line at each evaluation, and the scalars.

    Every step is shown to the statistics; ``log`` takes named scalars and their timestep, among them the
    seconds of the timings since the last writing; ``stage`` names the curriculum stage at a timestep.
    Episodes and losses are those of all ranks; ``num_envs`` counts the environments of all. ``others`` gives
    further scalars, since its last call. Where trials share the output each has a ``name``, with which its
    lines begin, and no bar.
    """

    def __init__(
        self,
        schedule: Schedule,
        num_envs: int,
        stage: Callable[[int], str],
        statistics: EpisodeStatistics | StreamStatistics,
        log: ScalarLog,
        verbosity: Verbosity = Verbosity.NORMAL,
        timings: Timings | None = None,
        ranks: Ranks = ALONE,
        others: Callable[[], Mapping[str, float]] = dict,
        name: str = "",
    ) -> None:
        self.timings = timings or Timings()
        self.schedule = schedule
        self.num_envs = num_envs
        self.stage = stage
        self.statistics = statistics
        self.log = log
        self.verbosity = verbosity
        self.ranks = ranks
        self.others = others
        self.name = name
        self.bar: tqdm | None = None
        self._interval = max(schedule.total_timesteps // LOG_POINTS, MIN_LOG_STEPS * num_envs)
        self._sums = EpisodeSums()
        self._timed: dict[str, float] = {}
        self._losses: dict[str, Tensor] = {}
        self._updates = 0
        self._success = "-"
        self._return = "-"
        self._minutes = 0.0  # before the last interruption
        self._begin(0)

    def _begin(self, timestep: int) -> None:
        self._began = self._last_time = time.monotonic()
        self._first = self._last = timestep

    def start(self, timestep: int) -> None:
        """Begin at a timestep, later than 0 if the run was resumed."""
        self._begin(timestep)
        if self.verbosity > Verbosity.QUIET and on_terminal() and not self.name:
            self.bar = tqdm(
                total=self.schedule.total_timesteps + 1,
                initial=timestep,
                unit=" timesteps",
                unit_scale=True,
                dynamic_ncols=True,
                bar_format=BAR_FORMAT,
            )

    def __call__(self, step: Step, timestep: int) -> None:
        """Look at one vector step, whose first timestep is ``timestep``.

        FloatingPointError: a loss is no finite number, as is noticed where the scalars are written.
        """
        self.statistics(step, timestep)
        after = min(timestep + self.num_envs, self.schedule.total_timesteps + 1)
        if self.bar is not None:
            self.bar.update(after - timestep)
        if after // self._interval > timestep // self._interval:
            self._write_scalars(after)

    def learned(self, losses: dict[str, Tensor], updates: int) -> None:
        """Take note of updates; the losses of the first one after each writing are kept for the next."""
        self._updates += updates
        if not self._losses:
            self._losses = {f"loss/{name}": loss.mean() for name, loss in losses.items()}

    def evaluated(self, timestep: int, results: Sequence[EpisodeResult]) -> None:
        """Write the scalars of an evaluation, and say how it went."""
        scalars = evaluation_scalars(Metrics.of_results(results))
        self.log({**scalars, "speed/wall_minutes": self._wall_minutes()}, timestep)
        self._success = f"{scalars['eval/success']:.2f}"
        self.note(
            f"timestep {timestep} of {self.schedule.total_timesteps}  stage {self.stage(timestep)}  "
            f"epsilon {self.schedule.epsilon(timestep):.3f}  success {self._success}  "
            f"return {scalars['eval/return']:.2f}  {self._speed(timestep)}"
        )
        self._show(timestep)

    def filmed(self, timestep: int, frames: np.ndarray) -> None:
        """Write the film of an episode of the evaluation at this timestep."""
        self.log.video("eval/episode", frames, timestep, PER_SECOND)

    def state_dict(self) -> dict[str, Any]:
        """What the next scalars are made of, but for the speeds."""
        return {
            "statistics": self.statistics.state_dict(),
            "sums": tuple(self._sums),
            "losses": dict(self._losses),
            "minutes": self._wall_minutes(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.statistics.load_state_dict(state["statistics"])
        self._sums = EpisodeSums(*state["sums"])
        self._losses = state["losses"]
        self._minutes = state["minutes"]

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        line = self._named(line)
        if self.bar is None:
            print(line, flush=True)
        else:
            self.bar.write(line)

    def note(self, line: str) -> None:
        """Print a line, unless the run is to be quiet."""
        if self.verbosity > Verbosity.QUIET:
            self.say(line)

    def warn(self, line: str) -> None:
        """Print a line about something that went wrong, whatever the verbosity."""
        tqdm.write(self._named(line), file=sys.stderr)

    def _named(self, line: str) -> str:
        return f"{self.name}: {line}" if self.name else line

    def _write_scalars(self, timestep: int) -> None:
        totals = self.ranks.totals([float(loss) for loss in self._losses.values()])
        losses = {name: total / self.ranks.count for name, total in zip(self._losses, totals, strict=True)}
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise FloatingPointError(f"{name} is {loss} at timestep {timestep}")
        sums = EpisodeSums(*self.ranks.totals(self.statistics.read()))
        timed, now = self.timings.read(), time.monotonic()
        means = sums.means_since(self._sums)
        seconds = max(now - self._last_time, 1e-9)
        scalars = {
            **{f"train/{name}": value for name, value in means.items()},
            **losses,
            "train/epsilon": self.schedule.epsilon(timestep),
            "speed/timesteps_per_second": (timestep - self._last) / seconds,
            "speed/updates_per_second": self._updates / seconds,
            **{f"speed/{part}_seconds": timed[part] - self._timed.get(part, 0.0) for part in timed},
            **self.others(),
        }
        self.log(scalars, timestep)
        self._return = f"{means['return']:.2f}" if "return" in means else self._return
        self._sums, self._timed, self._last_time, self._last = sums, timed, now, timestep
        self._losses, self._updates = {}, 0
        self._show(timestep)

    def _show(self, timestep: int) -> None:
        """Everything but the bar itself, which `tqdm` refreshes ten times a second at most."""
        if self.bar is not None:
            self.bar.set_postfix_str(
                f"success {self._success}, return {self._return}, "
                f"epsilon {self.schedule.epsilon(timestep):.2f}, stage {self.stage(timestep)}",
                refresh=False,
            )

    def _wall_minutes(self) -> float:
        """What the run has taken so far, compilation and evaluations included, interruptions not."""
        return self._minutes + (time.monotonic() - self._began) / 60

    def _speed(self, timestep: int) -> str:
        """Speed since the start, and the time that the rest takes at this speed."""
        done = timestep + 1 - self._first
        rate = done / max(time.monotonic() - self._began, 1e-9)
        left = round((self.schedule.total_timesteps - timestep) / rate)
        return f"{rate:.0f} timesteps/s  {timedelta(seconds=left)} left"


def on_terminal() -> bool:
    """Whether a bar makes sense: the output is a terminal that no other trial writes to."""
    return sys.stderr is not None and sys.stderr.isatty() and multiprocessing.parent_process() is None


def stage_names(thresholds: Sequence[int], mixed: bool) -> Callable[[int], str]:
    """Names of the curriculum stages, which begin at the thresholds, as a function of the timestep."""
    count = len(thresholds)
    if mixed:
        return lambda timestep: f"1-{count}"
    return lambda timestep: f"{sum(first <= timestep for first in thresholds)}/{count}"
