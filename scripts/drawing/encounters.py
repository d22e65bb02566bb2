"""The tracks of the standard encounters on one sheet."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.drawing import style
from torchrl_gpu.evaluation.encounters import Encounter

EVERY = 20
"""Steps between two marks on a track: 10 s."""
COLUMNS = 6


def sheet(encounters: Sequence[Encounter], name: str, size: float) -> Figure:
    """A map of every encounter, case by case, of the first time that it was played; ``size`` in m."""
    rows = -(-len(encounters) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.35 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False)
    for panel in panels.flat[len(encounters) :]:
        panel.set_axis_off()
    for case, (panel, encounter) in enumerate(zip(panels.flat, encounters, strict=False), 1):
        draw(panel, encounter, size)
        success = 100 * encounter.results.success.mean()
        panel.set_title(
            f"{case}: {success:.0f} %, {style.signed(f'{encounter.separation:.1f}')} m", fontsize=9
        )
    figure.suptitle(
        f"{name}: the encounters of Imazu, own ship (0) to the north; times that all arrived, "
        "median of the smallest gap; a mark every 10 s",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return figure


def draw(axes: Axes, encounter: Encounter, size: float) -> None:
    """One map; a cross where a ship has collided."""
    axes.set_facecolor(style.WATER(0.0))
    collided = not encounter.results.success[0]
    for ship, track in enumerate(encounter.track.transpose(1, 0, 2)):
        colour = style.robot_colour(ship)
        track = track[np.isfinite(track[:, 0])]
        north, east = track.T
        axes.plot(east, north, color=colour, lw=1.2)
        axes.plot(east[::EVERY], north[::EVERY], ".", ms=4, color=colour)
        hit = collided and len(track) == len(encounter.track)
        axes.plot(east[-1], north[-1], "X" if hit else "*", ms=7, color=colour, mec="white", mew=0.5)
        axes.annotate(
            str(ship), (east[0], north[0]), color=colour, fontsize=8, fontweight="bold", ha="center",
            va="center", path_effects=style.halo(), annotation_clip=False,
        )  # fmt: skip
    axes.set(xlim=(0, size), ylim=(0, size), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
