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


class Metrics(NamedTuple):
    """The numbers of an evaluation, or of a part of it; None where they are the mean of nothing."""

    episodes: int
    success_rate: float | None  # share of the episodes in which all robots arrived
    mean_return: float | None
    mean_time: float | None  # s, of the successful episodes (Defect T15 used -1 s for none)
    mean_energy: float | None  # N s, of the successful episodes

    @classmethod
    def of(cls, returns: Sequence, successes: Sequence, times: Sequence, energies: Sequence) -> Self:
        """From one value an episode."""
        arrived = np.asarray(successes, dtype=bool)
        times, energies = (np.asarray(values, dtype=float)[arrived] for values in (times, energies))
        returns = np.asarray(returns, dtype=float)
        return cls(len(arrived), *(_mean(values) for values in (arrived, returns, times, energies)))

    @classmethod
    def of_results(cls, results: Sequence[EpisodeResult]) -> Self:
        """From the results of the episodes."""
        keys = ("reward", "success", "time", "energy")
        return cls.of(*([getattr(result, key) for result in results] for key in keys))


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
