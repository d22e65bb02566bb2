"""Scenarios side by side: any number of episodes as a sheet of maps."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marinenav_env.envs.reference.world import MarineNavEnv3
from scripts.drawing import map as chart
from scripts.drawing import style
from scripts.drawing.vessel import draw_vessel


def caption(world: MarineNavEnv3) -> str:
    """How many robots, vortices and obstacles a scenario has, in words."""
    counts = (
        (len(world.robots), "robot", "robots"),
        (len(world.cores), "vortex", "vortices"),
        (len(world.obstacles), "obstacle", "obstacles"),
    )
    return ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts if n or one == "robot")


def behind(start: Sequence[float], goal: Sequence[float], limits: chart.Limits) -> np.ndarray:
    """Point (x, y) on the map 4 m from ``start``, away from the goal: there a number hides nothing."""
    away = np.subtract(start, goal)
    west, east, south, north = limits
    point = np.asarray(start) + 4.0 * away / max(np.hypot(*away), 1e-9)
    return np.clip(point, (south + 1.2, west + 1.2), (north - 1.2, east - 1.2))


def draw_scenario(axes: Axes, world: MarineNavEnv3, size: float = 1.0) -> None:
    """One map with vessels at their starts, courses to the goals; ``size`` scales marks and numbers."""
    points = [point for robot in world.robots for point in (robot.start, robot.goal)]
    limits = chart.map_limits(world, points)
    # The grids are a matter of what can still be seen.
    chart.draw_map(axes, world, limits, arrows=size > 0.6, count=100 if size > 0.7 else 50)
    for i, robot in enumerate(world.robots):
        colour = style.robot_colour(i)
        (x, y), (goal_x, goal_y) = robot.start, robot.goal
        axes.plot([y, goal_y], [x, goal_x], color=colour, lw=size, ls=(0, (4, 3)), zorder=4)
        draw_vessel(axes, robot, (x, y, robot.init_theta), colour, zorder=7)
        chart.draw_goal(axes, robot, i, size)
        chart.number(axes, i, behind(robot.start, robot.goal, limits), 10 * size)


def sheet(worlds: Sequence[MarineNavEnv3], names: Sequence[str], columns: int | None = None) -> Figure:
    """Draw every scenario, with its name, on its own map; without ``columns`` as many as rows."""
    columns = min(columns or math.ceil(math.sqrt(len(worlds))), len(worlds))
    rows = math.ceil(len(worlds) / columns)
    side = {1: 7.5, 2: 5.2, 3: 4.2}.get(columns, 3.4)
    size = {1: 1.0, 2: 0.85, 3: 0.7}.get(columns, 0.6)
    figure = Figure(figsize=(columns * side, rows * side + 1.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat[len(worlds) :]:
        panel.set_axis_off()
    for panel, world, name in zip(axes.flat, worlds, names, strict=False):
        draw_scenario(panel, world, size)
        panel.set_title(name)
        panel.set_title(caption(world), fontsize=8.5, fontweight="normal", loc="right", color=style.QUIET)
    figure.supylabel("North (m)", fontsize=10)
    add_key(figure, worlds)
    return figure


def add_key(figure: Figure, worlds: Sequence[MarineNavEnv3], start: bool = False) -> None:
    """Axis title, legend and, where there is a current, its scale, in a strip below all maps."""
    width, height = figure.get_size_inches()
    strip = 0.95 / height
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
    figure.supxlabel("East (m)", fontsize=10, y=strip, va="top")
    entries = chart.course_legend(start)
    figure.legend(handles=entries, loc="center left", bbox_to_anchor=(0, strip / 2), ncols=len(entries))
    flowing = [world for world in worlds if world.cores]
    if flowing:
        place = [1 - 2.7 / width, 0.42 / height, 2.5 / width, 0.12 / height]
        chart.speed_bar(figure, figure.add_axes(place), flowing[0])
