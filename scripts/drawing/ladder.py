"""Success of policies on a ladder of scenarios, as heat maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.drawing import style

COLOURS = "cividis"
"""Legible without colour vision, and in grey."""


def heat_maps(reports: Mapping[str, Mapping[str, Any]], metric: str, title: str) -> Figure:
    """Draw a share for every policy: vessels up, buoys to the right, a row of panels for each current."""
    rows = [row for report in reports.values() for row in report["cells"]]
    currents, vessels, buoys = (
        sorted({row[key] for row in rows}) for key in ("vortices", "vessels", "buoys")
    )
    size = (0.55 * len(buoys) + 0.5, 0.4 * len(vessels) + 0.7)
    figure = Figure(
        figsize=(len(reports) * size[0] + 1.2, len(currents) * size[1] + 0.9), layout="constrained"
    )
    panels = figure.subplots(len(currents), len(reports), squeeze=False, sharex=True, sharey=True)
    for column, (name, report) in zip(panels.T, reports.items(), strict=True):
        for panel, current in zip(column, currents, strict=True):
            own = [row for row in report["cells"] if row["vortices"] == current]
            image = draw(panel, own, vessels, buoys, metric)
        column[0].set_title(name)
        column[-1].set_xlabel("buoys")
    for panel, current in zip(panels[:, 0], currents, strict=True):
        panel.set_ylabel(f"vessels, {current} vortices" if current else "vessels, no current")
    figure.colorbar(image, ax=panels, label=title, shrink=0.7)
    return figure


def draw(axes: Axes, rows: Sequence[Mapping], vessels: list[int], buoys: list[int], metric: str) -> Any:
    """One heat map with its numbers."""
    values = np.full((len(vessels), len(buoys)), np.nan)
    for row in rows:
        values[vessels.index(row["vessels"]), buoys.index(row["buoys"])] = row[metric][0]
    image = axes.imshow(values, COLOURS, origin="lower", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < 0.5 else style.INK
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(buoys)), buoys)
    axes.set_yticks(range(len(vessels)), vessels)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image
