"""What an evaluation comes to: the results of its episodes, and the numbers that are reported of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

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
        """Header of a column: name, and unit in brackets."""
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


# ---- estimates ------------------------------------------------------------------------------------------

Z = 1.959963984540054
"""Standard deviations within which a normal estimate lies in 95 of 100 cases."""


class Estimate(NamedTuple):
    """A number with the ends of its 95 % confidence interval; None where it is the mean of nothing."""

    value: float | None
    low: float | None
    high: float | None
    count: int  # of what it is the mean


NO_ESTIMATE = Estimate(None, None, None, 0)


def share(hits: Any) -> Estimate:
    """Share of True in one value an episode, with the interval of E. B. Wilson, JASA 22, 1927."""
    hits = np.asarray(hits, dtype=bool)
    if not hits.size:
        return NO_ESTIMATE
    n, p = hits.size, float(hits.mean())
    middle, width = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + (Z / (2 * n)) ** 2)
    low, high = ((middle + side * width) / (1 + Z**2 / n) for side in (-1, 1))
    return Estimate(p, float(max(low, 0)), float(min(high, 1)), n)


def average(values: Any) -> Estimate:
    """Mean of one value an episode, with the normal interval."""
    return ratio(values, np.ones(len(values)))


def ratio(parts: Any, wholes: Any) -> Estimate:
    """Sum of parts over sum of wholes, one of each an episode, with the normal interval over episodes.

    W. G. Cochran, "Sampling Techniques" (1977), 6.4: what belongs to one episode is not independent.
    """
    parts, wholes = (np.asarray(values, dtype=float) for values in (parts, wholes))
    total = wholes.sum()
    if not total:
        return NO_ESTIMATE
    value, n = parts.sum() / total, len(parts)
    error = np.sqrt(((parts - value * wholes) ** 2).sum() * n / max(n - 1, 1)) / total
    return Estimate(float(value), float(value - Z * error), float(value + Z * error), n)


# ---- fleets ---------------------------------------------------------------------------------------------

ENDINGS = ("success", "vessel hit", "buoy hit", "time-out")
"""How an episode ends; success counts even if a robot collides as the last arrives (Defect T14)."""


@dataclass
class FleetResults:
    """What n episodes left behind, one number each: arrays (n,)."""

    ending: np.ndarray  # index in `ENDINGS`
    returns: np.ndarray  # discounted, mean over robots
    times: np.ndarray  # s, mean over robots
    energies: np.ndarray  # N s, mean over robots
    paths: np.ndarray  # m, sum over robots
    lines: np.ndarray  # m from the starts straight to the edges of the goals, sum over robots
    vessel_gaps: np.ndarray  # smallest gap between two vessels, m; infinite where there is one vessel
    buoy_gaps: np.ndarray  # smallest gap between a vessel and a buoy, m; infinite without buoys
    duties: np.ndarray  # turns that the traffic rule asked for, of which is known whether they were kept
    kept: np.ndarray  # of these, those that were kept

    @property
    def success(self) -> np.ndarray:
        """In which episodes all robots arrived, bool (n,)."""
        return self.ending == ENDINGS.index("success")

    def part(self, chosen: slice | np.ndarray) -> Self:
        """Some of the episodes."""
        return type(self)(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All episodes of several."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


class FleetMetrics(NamedTuple):
    """The numbers by which policies are compared; those after the shares are of successful episodes."""

    success: Estimate
    vessel_hit: Estimate
    buoy_hit: Estimate
    time_out: Estimate
    mean_return: Estimate  # of all episodes
    rule_kept: Estimate  # share of the turns that the traffic rule asked for, of all episodes
    time: Estimate  # s
    energy: Estimate  # N s
    path: Estimate  # path over straight line
    vessel_gap: Estimate  # smallest gap between two vessels, m
    buoy_gap: Estimate  # smallest gap between a vessel and a buoy, m

    @classmethod
    def of(cls, results: FleetResults) -> Self:
        """From the results of episodes."""
        good = results.part(results.success)
        gaps = (values[np.isfinite(values)] for values in (good.vessel_gaps, good.buoy_gaps))
        return cls(
            *(share(results.ending == ending) for ending in range(len(ENDINGS))),
            average(results.returns),
            ratio(results.kept, results.duties),
            average(good.times),
            average(good.energies),
            ratio(good.paths, good.lines),
            *map(average, gaps),
        )
