"""What an evaluation comes to: the results of its episodes, and the numbers that are reported of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from typing_extensions import Self


@dataclass
class EpisodeResult:
    """What one evaluation episode leaves behind.

    Attributes:
        reward: Discounted return, mean over the episode's robots.
        success: Whether every robot reached its goal (Defect T14: even if one collides while arriving).
        time: Travel time in s, mean over the robots.
        energy: Energy cost in N s, mean over the robots.
        observations: [robot][step] ``[self, objects]``, ``[None, None]`` once the robot is deactivated.
        actions: [robot][step] legacy actions.
        trajectories: [robot][step] rows of 13 floats (environment spec 13.4), row 0 at the start.
        outcomes: [robot] how it ended: ``"collision"``, ``"reach goal"``, ``"too long episode"``, or
            ``"normal"`` if the collision of another one ended the episode.
    """

    reward: float
    success: bool
    time: float
    energy: float
    observations: list = field(repr=False)
    actions: list = field(repr=False)
    trajectories: list = field(repr=False)
    outcomes: list[str] = field(default_factory=list)


class Metrics(NamedTuple):
    """The numbers of an evaluation, or of a part of it; None where they are the mean of nothing.

    Attributes:
        episodes: Their number.
        success_rate: Share of the episodes in which all robots arrived.
        mean_return: Mean over all episodes.
        mean_time: Mean travel time in s over the successful episodes (Defect T15 used -1 s for none).
        mean_energy: Mean energy in N s over the successful episodes.
    """

    episodes: int
    success_rate: float | None
    mean_return: float | None
    mean_time: float | None
    mean_energy: float | None

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
