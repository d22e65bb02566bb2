"""The map of an episode: current, vortices, obstacles, starts and goals. North is up.

Map coordinates are (East, North) = (y, x), metres. A world is only read, never stepped or changed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.world import MarineNavEnv3
from scripts.drawing import style

SLOWEST = 0.1
"""Speed (m/s) below which water is shown as still (environment spec 18)."""

Limits = tuple[float, float, float, float]
"""West, east, south, north edge of a map (m)."""


def grid(limits: Limits, count: int) -> tuple[np.ndarray, np.ndarray]:
    """North and east coordinates (count, count) of a regular grid over the map."""
    west, east, south, north = limits
    return np.meshgrid(np.linspace(south, north, count), np.linspace(west, east, count), indexing="ij")


def map_limits(world: MarineNavEnv3, points: Sequence[Sequence[float]] = (), margin: float = 3.0) -> Limits:
    """The map, widened by up to a third on each side where ``points`` (x, y) leave it (Quirk W1)."""
    size = np.array([world.height, world.width], dtype=float)
    low, high = np.zeros(2), size.copy()
    if len(points):
        places = np.asarray(points, dtype=float)[:, 1::-1]  # East, North
        least, most = places.min(axis=0), places.max(axis=0)
        low = np.where(least < low, np.maximum(least - margin, -size / 3), low)
        high = np.where(most > high, np.minimum(most + margin, size * 4 / 3), high)
    return low[0], high[0], low[1], high[1]


def squared(limits: Limits) -> Limits:
    """The smallest square with the same centre that holds ``limits``."""
    west, east, south, north = limits
    half = max(east - west, north - south) / 2
    middle_east, middle_north = (west + east) / 2, (south + north) / 2
    return middle_east - half, middle_east + half, middle_north - half, middle_north + half


def water_scale(world: MarineNavEnv3) -> LogNorm:
    """Colour scale of the flow speed, from still to the largest speed at a core's edge (m/s)."""
    return LogNorm(SLOWEST, max(float(world.v_range[1]), 2 * SLOWEST))


def flow(world: MarineNavEnv3, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """North and east component (m/s) of the current at points (m) of any shape."""
    velocity = np.array([world.get_velocity(*point) for point in zip(x.flat, y.flat, strict=True)])
    return velocity[:, 0].reshape(x.shape), velocity[:, 1].reshape(x.shape)


def draw_water(axes: Axes, world: MarineNavEnv3, limits: Limits, count: int = 100) -> None:
    """Filled contours of the logarithm of the flow speed on a grid of ``count`` x ``count`` points."""
    x, y = grid(limits, count)
    scale = water_scale(world)
    speed = np.clip(np.hypot(*flow(world, x, y)), scale.vmin, scale.vmax)
    levels = np.geomspace(scale.vmin, scale.vmax, 24)
    axes.contourf(y, x, speed, levels=levels, norm=scale, cmap=style.WATER, zorder=0)


def draw_arrows(axes: Axes, world: MarineNavEnv3, limits: Limits, count: int = 22) -> None:
    """Flow direction; the length grows with the logarithm of the speed, still water has none."""
    x, y = grid(limits, count)
    north, east = flow(world, x, y)
    scale, speed = water_scale(world), np.hypot(north, east)
    length = np.asarray(scale(np.clip(speed, scale.vmin, scale.vmax)))
    seen = length > 0.05
    factor = 1.2 * (limits[1] - limits[0]) / count * length[seen] / speed[seen]
    axes.quiver(
        y[seen],
        x[seen],
        east[seen] * factor,
        north[seen] * factor,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        width=0.0022,
        pivot="mid",
        color="#3d6f96",
        alpha=0.55,
        zorder=1,
    )


def draw_obstacles(axes: Axes, world: MarineNavEnv3) -> None:
    """Static obstacles as discs of their true radius."""
    for disc in world.obstacles:
        axes.add_patch(
            Circle((disc.y, disc.x), disc.r, facecolor=style.OBSTACLE, edgecolor="white", lw=0.8, zorder=3)
        )


def draw_goal(axes: Axes, robot: Robot, index: int, size: float = 1.0) -> None:
    """Goal of one robot: numbered star in the disc within which the robot has arrived."""
    colour, (x, y) = style.robot_colour(index), robot.goal
    axes.add_patch(Circle((y, x), robot.goal_dis, facecolor=colour, alpha=0.15, zorder=2))
    axes.add_patch(Circle((y, x), robot.goal_dis, fill=False, ec=colour, ls=(0, (3, 2)), lw=1, zorder=2))
    axes.plot(y, x, "*", ms=15 * size, mfc=colour, mec="white", mew=0.8, zorder=6, clip_on=False)
    number(axes, index, (x, y), 9 * size, offset=(8 * size, 5.5 * size))


def draw_start(axes: Axes, robot: Robot, index: int) -> None:
    """Start of one robot: ring in its colour."""
    x, y = robot.start
    edge = style.robot_colour(index)
    axes.plot(y, x, "o", ms=7, mfc="white", mec=edge, mew=1.8, zorder=5, clip_on=False)


def number(
    axes: Axes,
    index: int,
    point: Sequence[float],
    size: float,
    offset: Sequence[float] = (0.0, 0.0),
    **kind: Any,
) -> Any:
    """Number of a robot, in its colour, at a point (x, y) of the map plus ``offset`` in points."""
    return axes.annotate(
        str(index),
        (point[1], point[0]),
        xytext=offset,
        textcoords="offset points",
        ha="center",
        va="center",
        color=style.robot_colour(index),
        fontsize=size,
        fontweight="bold",
        path_effects=style.halo(),
        annotation_clip=False,
        **{"zorder": 9, **kind},
    )


def draw_beyond(axes: Axes, limits: Limits, index: int, point: Sequence[float]) -> bool:
    """Pointer at the edge to a robot at (x, y) out of view, with its distance; whether it is out of view."""
    west, east, south, north = limits
    place = np.array([point[1], point[0]])
    edge = np.clip(place, (west, south), (east, north))
    away = place - edge
    distance = np.hypot(*away)
    if distance == 0.0:
        return False
    inset = 0.015 * (east - west)
    tip = np.clip(edge, (west + inset, south + inset), (east - inset, north - inset))
    angle = np.degrees(np.arctan2(away[1], away[0])) - 90.0
    colour = style.robot_colour(index)
    axes.plot(*tip, marker=(3, 0, angle), ms=11, color=colour, mec="white", zorder=10)
    inside = tip - 0.035 * (east - west) * np.sign(np.where(edge == place, 0.0, away))
    ha = "left" if away[0] < 0 else "right" if away[0] > 0 else "center"
    look = {"color": colour, "fontsize": 9, "fontweight": "bold", "path_effects": style.halo()}
    axes.text(*inside, f"{index}: {distance:.0f} m off", ha=ha, va="center", zorder=10, **look)
    return True


def frame_map(axes: Axes, world: MarineNavEnv3, limits: Limits) -> None:
    """Limits, equal aspect, and the map's edge, which the view may go beyond."""
    west, east, south, north = limits
    axes.set(xlim=(west, east), ylim=(south, north), aspect="equal")
    axes.add_patch(Rectangle((0, 0), world.height, world.width, fill=False, ec=style.QUIET, clip_on=False))
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_map(axes: Axes, world: MarineNavEnv3, limits: Limits, arrows: bool = True, count: int = 100) -> None:
    """Water, arrows and obstacles of a world, framed."""
    axes.set_facecolor(style.WATER(0.0))
    if world.cores:
        draw_water(axes, world, limits, count)
        if arrows:
            draw_arrows(axes, world, limits)
    draw_obstacles(axes, world)
    frame_map(axes, world, limits)


def speed_bar(figure: Figure, axes: Axes, world: MarineNavEnv3) -> None:
    """Scale of the flow speed in ``axes``."""
    scale = water_scale(world)
    bar = figure.colorbar(
        ScalarMappable(scale, style.WATER), cax=axes, orientation="horizontal", extend="min", ticks=[]
    )
    ticks = [t for t in (0.1, 0.3, 1.0, 3.0, 10.0) if scale.vmin <= t <= scale.vmax]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.ax.minorticks_off()
    bar.set_label("current speed (m/s)", labelpad=2)
    bar.outline.set_edgecolor(style.QUIET)


def course_legend(start: bool) -> list[Line2D]:
    """Legend entries of start (on request), goal and obstacle, in neutral colours."""

    def mark(marker: str, label: str, **kind: Any) -> Line2D:
        return Line2D([], [], ls="none", marker=marker, label=label, **kind)

    ring = mark("o", "start", ms=7, mfc="white", mec=style.INK, mew=1.8)
    return [ring] * start + [
        mark("*", "goal", ms=14, mfc=style.INK, mec="white"),
        mark("o", "obstacle", ms=10, mfc=style.OBSTACLE, mec="white"),
    ]
