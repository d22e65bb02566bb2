"""Colours and type of all figures, legible for colour-blind readers and on paper."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke

from marinenav_env.envs.contract import colours

matplotlib.use("Agg")

INK = "#22303c"  # text, frames
QUIET = "#7b8894"  # ticks, secondary text
OBSERVED = "#A0208F"  # what the sensor says
OBSTACLE = colours.OBSTACLE
DUTY = colours.ALARM  # a COLREGs duty in force
WATER = LinearSegmentedColormap.from_list("water", colours.WATER)

RC = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
}
matplotlib.rcParams.update(RC)


def robot_colour(index: int) -> str:
    """Colour of robot (or curve) ``index``; beyond eight they repeat, the numbers on the drawing do not."""
    return colours.VESSELS[index % len(colours.VESSELS)]


def signed(text: str) -> str:
    """``text`` with typographic minus signs, as on the axes."""
    return text.replace("-", "\N{MINUS SIGN}")


def halo(width: float = 2.5, colour: str = "white") -> list:
    """Path effect that keeps a text or line legible on any ground."""
    return [withStroke(linewidth=width, foreground=colour)]


def open_frame(axes: Axes) -> None:
    """Light horizontal grid behind the data of a chart."""
    axes.grid(axis="y", color="#dfe5ea", linewidth=0.8)
    axes.set_axisbelow(True)
