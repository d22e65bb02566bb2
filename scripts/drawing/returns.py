"""The distribution of the return that a quantile agent expects, drawn as a cumulative curve."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from scripts.drawing import style


@dataclass
class ReturnDistribution:
    """Quantiles of the return for one robot of a recording."""

    fractions: np.ndarray  # (N,) rising, in (0, 1)
    chosen: np.ndarray  # (steps, N) of the recorded action, rising along the fractions
    others: np.ndarray | None  # (steps, N, 25) of every action where actions are discrete


def frame_returns(axes: Axes, distributions: list[ReturnDistribution]) -> None:
    """Axes that hold every step of all distributions, so that they stand still during an episode."""
    values = [each.chosen if each.others is None else each.others for each in distributions]
    values = np.concatenate([each.ravel() for each in values])
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    margin = 0.05 * max(high - low, 1e-3)
    axes.set(xlim=(low - margin, high + margin), ylim=(0, 1), xlabel="return", ylabel="probability")
    axes.set_yticks([0, 0.5, 1.0])
    style.open_frame(axes)


def draw_returns(axes: Axes, distribution: ReturnDistribution, step: int, colour: str) -> str:
    """Cumulative distribution of the return of the chosen action, other actions behind it; mean in words."""
    if step >= len(distribution.chosen):
        return "no action"
    if distribution.others is not None:
        axes.plot(distribution.others[step], distribution.fractions, color="#c9d0d6", lw=0.6, zorder=1)
    chosen = distribution.chosen[step]
    axes.fill_betweenx(
        distribution.fractions, chosen, chosen.mean(), color=colour, alpha=0.15, lw=0, zorder=2
    )
    axes.plot(chosen, distribution.fractions, color=colour, lw=2, zorder=3)
    axes.axvline(chosen.mean(), color=colour, lw=1, ls=(0, (3, 2)), zorder=3)
    return style.signed(f"mean {chosen.mean():.1f}")
