"""What an evaluation comes to: the results of its episodes, and the numbers that are reported of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from typing_extensions import Self


@dataclass
class EpisodeResult:
    """What one evaluation episode leaves behind; numbers are means over its robots.

    Histories are nested lists: ``observations[robot][step]`` is ``[self, objects]``, or ``[None, None]`` once
    the robot is deactivated, ``actions[robot][step]`` a legacy action, ``trajectories[robot][step]`` a row of
    13 floats (environment spec 13.4), row 0 at the start. ``outcomes[robot]`` is ``"collision"``, ``"reach
    goal"``, ``"too long episode"``, or ``"normal"`` if the collision of another one ended the episode.
    """

    reward: float  # discounted return
    success: bool  # whether every robot reached its goal (Defect T14: even if one collides arriving)
    time: float  # s
    energy: float  # N s
    observations: list = field(repr=False)
    actions: list = field(repr=False)
    trajectories: list = field(repr=False)
    outcomes: list[str] = field(default_factory=list)


NUMBERS = ("reward", "success", "time", "energy")
"""What metrics are made of: attributes of the results."""


class Metrics(NamedTuple):
    """The numbers of an evaluation, or of a part of it; None where they are the mean of nothing."""

    episodes: int
    success_rate: float | None  # share of the episodes in which all robots arrived
    mean_return: float | None
    mean_time: float | None  # s, of the successful episodes (Defect T15 used -1 s for none)
    mean_energy: float | None  # N s, of the successful episodes

    @classmethod
    def of(cls, reward: Sequence, success: Sequence, time: Sequence, energy: Sequence) -> Self:
        """From `NUMBERS`, one of each an episode."""
        arrived = np.asarray(success, dtype=bool)
        times, energies = (np.asarray(values, dtype=float)[arrived] for values in (time, energy))
        returns = np.asarray(reward, dtype=float)
        return cls(len(arrived), *(_mean(values) for values in (arrived, returns, times, energies)))

    @classmethod
    def of_results(cls, results: Sequence[EpisodeResult]) -> Self:
        """From the results of the episodes."""
        return cls.of(*([getattr(result, name) for result in results] for name in NUMBERS))


class Shown(NamedTuple):
    """How a metric is told."""

    name: str  # of its series
    unit: str
    form: str  # of its digits

    @property
    def title(self) -> str:
        """Of a column."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


SHOWN = {
    "success_rate": Shown("success", "", ".3f"),
    "mean_return": Shown("return", "", ".2f"),
    "mean_time": Shown("time", "s", ".2f"),
    "mean_energy": Shown("energy", "N s", ".0f"),
}
"""Metrics as series and tables have them."""


def report(results: Sequence[EpisodeResult]) -> str:
    """The legacy report of an evaluation; without successful episodes time and energy are left out."""
    metrics = Metrics.of_results(results)
    lines = [
        "++++++++ Evaluation ++++++++",
        f"Average cumulative reward: {metrics.mean_return:.2f}",
        f"Success rate: {metrics.success_rate:.2f}",
    ]
    if metrics.success_rate:
        lines += [
            f"Average time: {metrics.mean_time:.2f} s",
            f"Average energy: {metrics.mean_energy:.2f} N s",
        ]
    return "\n".join([*lines, "++++++++ Evaluation ++++++++"])


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
