"""A recorded episode as one figure: map, perception of one robot, thrusts and, where known, its returns."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts.drawing import map as chart
from scripts.drawing import perception, style
from scripts.drawing.recording import Recording
from scripts.drawing.returns import ReturnDistribution, draw_returns, frame_returns
from scripts.drawing.vessel import draw_vessel

SIZE = (14.4, 8.1)
"""Figure size in inches."""

THRUSTERS = ((11, "left", "#33414d", "-"), (12, "right", "#b0762b", (0, (5, 1.5))))
"""Trajectory column, name, colour and line style of the thrusters."""


class Stage:
    """A figure whose unchanging part is rendered once; each frame draws only what moves."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.canvas = FigureCanvasAgg(figure)
        self.canvas.draw()
        self.ground = self.canvas.copy_from_bbox(figure.bbox)
        self.fixed = set(self._artists())

    def _artists(self) -> list:
        return [artist for axes in self.figure.axes for artist in axes.get_children()] + self.figure.texts

    def frame(self, draw: Callable[[], None]) -> np.ndarray:
        """Render what ``draw`` adds, (height, width, 3) uint8 RGB, and take it away again."""
        draw()
        moving = [artist for artist in self._artists() if artist not in self.fixed]
        self.canvas.restore_region(self.ground)
        for artist in sorted(moving, key=lambda artist: artist.get_zorder()):
            self.figure.draw_artist(artist)
            artist.remove()
        return np.array(self.canvas.buffer_rgba())[..., :3]


def shown_order(recording: Recording, robots: Iterable[int]) -> list[int]:
    """The requested robots and the one with the longest trajectory, by length of trajectory."""
    lengths = [len(rows) for rows in recording.trajectories]
    return sorted({*robots, int(np.argmax(lengths))}, key=lengths.__getitem__)


class EpisodeView:
    """Draws any step of a recording; when the trajectory of the robot in view ends, the next takes over."""

    def __init__(
        self,
        recording: Recording,
        robots: Sequence[int] = (),
        returns: dict[int, ReturnDistribution] | None = None,
        arrows: bool = True,
        width: int = 1440,
    ) -> None:
        self.recording, self.returns = recording, returns or {}
        self.order = shown_order(recording, robots)
        figure = Figure(figsize=SIZE, dpi=width / SIZE[0])
        self.map = self._axes(figure, 0.75, 1.05, 6.3, 6.3)
        self.ego = self._axes(figure, 8.15, 2.85, 4.5, 4.5)
        panels = 2 if self.returns else 1
        gap = 0.95
        wide = (5.9 - (panels - 1) * gap) / panels
        self.thrusts = self._axes(figure, 8.15, 0.75, wide, 1.25)
        self._draw_ground(figure, arrows)
        if self.returns:
            self.distribution = self._axes(figure, 8.15 + wide + gap, 0.75, wide, 1.25)
            frame_returns(self.distribution, list(self.returns.values()))
        self.stage = Stage(figure)

    @staticmethod
    def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes at a place in inches."""
        return figure.add_axes([left / SIZE[0], bottom / SIZE[1], width / SIZE[0], height / SIZE[1]])

    def _draw_ground(self, figure: Figure, arrows: bool) -> None:
        recording, world = self.recording, self.recording.world
        self.limits = chart.squared(chart.map_limits(world, np.concatenate(recording.trajectories)))
        chart.draw_map(self.map, world, self.limits, arrows)
        self.map.set(xlabel="East (m)", ylabel="North (m)")
        for i, robot in enumerate(world.robots):
            chart.draw_start(self.map, robot, i)
            chart.draw_goal(self.map, robot, i)
        inch = 1 / SIZE[1]
        figure.text(
            0.75 / SIZE[0], 1 - 0.28 * inch, recording.title, fontsize=13, fontweight="bold", va="center"
        )
        marks = [
            *chart.course_legend(start=True),
            Line2D([], [], ls="none", marker="X", ms=9, mfc=style.DUTY),
        ]
        marks[-1].set(label="collision", markeredgecolor="white")
        figure.legend(
            handles=marks,
            loc="center left",
            bbox_to_anchor=(0.65 / SIZE[0], 0.32 * inch),
            ncols=4,
            columnspacing=1.3,
        )
        if world.cores:
            chart.speed_bar(figure, self._axes(figure, 4.85, 0.44, 2.2, 0.11), world)
        perception.frame_perception(self.ego, world.robots[self.order[-1]])
        figure.legend(
            handles=perception.perception_legend(),
            loc="upper left",
            bbox_to_anchor=(12.68 / SIZE[0], 7.42 * inch),
            fontsize=8,
            handlelength=1.6,
            labelspacing=0.9,
        )
        self._frame_thrusts()

    def _frame_thrusts(self) -> None:
        robot, axes = self.recording.world.robots[self.order[-1]], self.thrusts
        span = 0.06 * (robot.max_thrust - robot.min_thrust)
        axes.set(xlim=(0, max(self.recording.seconds(self.recording.last_step), 0.5)))
        axes.set(
            ylim=(robot.min_thrust - span, robot.max_thrust + span), xlabel="time (s)", ylabel="thrust (N)"
        )
        axes.legend(
            handles=[Line2D([], [], color=c, ls=ls, lw=1.7, label=name) for _, name, c, ls in THRUSTERS],
            loc="lower right",
            bbox_to_anchor=(1.0, 0.97),
            ncols=2,
            borderpad=0,
            borderaxespad=0.2,
            handlelength=1.8,
        )
        axes.axhline(0, color=style.QUIET, lw=0.8, zorder=1)
        style.open_frame(axes)

    def shown(self, step: int) -> int:
        """Robot whose perception is shown at a step."""
        return next((k for k in self.order if self.recording.in_water(k, step)), self.order[-1])

    def frame(self, step: int) -> np.ndarray:
        """Image (height, width, 3) uint8 of one step, 0 to ``recording.last_step``."""
        return self.stage.frame(lambda: self._draw(step))

    def frames(self, steps: Iterable[int]) -> Iterator[np.ndarray]:
        """Images of several steps, one at a time."""
        return map(self.frame, steps)

    def _draw(self, step: int) -> None:
        shown = self.shown(step)
        self._headline(self.map, f"t = {self.recording.seconds(step):.1f} s", self.recording.summary())
        for index in range(len(self.recording.trajectories)):
            self._draw_track(index, step)
        duty = perception.draw_perception(self.ego, self.recording, shown, step)
        self._headline(
            self.ego,
            f"Robot {shown} perceives",
            f"COLREGs: {duty or 'no duty'}",
            colour=style.robot_colour(shown),
            remark=style.DUTY if duty else style.QUIET,
        )
        self._draw_thrusts(shown, step)
        self._draw_state(shown, step)
        if shown in self.returns:
            colour = style.robot_colour(shown)
            words = draw_returns(self.distribution, self.returns[shown], step, colour)
            self._headline(self.distribution, "Return distribution", words)

    @staticmethod
    def _headline(
        axes: Axes, title: str, detail: str = "", colour: str = style.INK, remark: str = style.QUIET
    ) -> None:
        """Title on the left and a remark on the right, above a panel."""
        style_of = {"transform": axes.transAxes, "va": "bottom"}
        offset = 0.06 / (axes.get_position().height * SIZE[1])
        axes.text(0, 1 + offset, title, fontsize=11, fontweight="bold", color=colour, **style_of)
        axes.text(1, 1 + offset, detail, fontsize=9, color=remark, ha="right", **style_of)

    def _draw_track(self, index: int, step: int) -> None:
        """Trail up to a step, then the vessel with its velocity, or the mark of how it ended."""
        recording, colour = self.recording, style.robot_colour(index)
        rows = recording.trajectories[index][: step + 1]
        self.map.plot(rows[:, 1], rows[:, 0], color=colour, lw=1.8, zorder=5, path_effects=style.halo(3))
        row = rows[-1]
        if chart.draw_beyond(self.map, self.limits, index, row[:2]):
            return
        if recording.in_water(index, step):
            draw_vessel(self.map, recording.world.robots[index], row[:3], colour, row[9:11], zorder=8)
            perception.arrow(self.map, (row[1], row[0]), (row[7], row[6]), style.INK, 9)
            # 3 m abeam to port a number is clear of the hull, the bow and the trail.
            beside = row[0] + 3.0 * np.sin(row[2]), row[1] - 3.0 * np.cos(row[2])
            chart.number(self.map, index, beside, 11, zorder=10)
        last = step >= len(recording.trajectories[index]) - 1
        if last and recording.collided(index):
            self.map.plot(row[1], row[0], "X", ms=11, mfc=style.DUTY, mec="white", zorder=11)
        elif not recording.in_water(index, step):
            self.map.plot(row[1], row[0], "o", ms=6, mfc=colour, mec="white", zorder=7)

    def _draw_thrusts(self, shown: int, step: int) -> None:
        """Thrusts of the shown robot: the past strong, the future faint; the present command in words."""
        recording, axes = self.recording, self.thrusts
        rows = recording.trajectories[shown]
        seconds = np.array([recording.seconds(k) for k in range(len(rows))])
        for column, _, colour, line in THRUSTERS:
            axes.plot(seconds, rows[:, column], color=colour, lw=1, alpha=0.25, zorder=2)
            past = slice(None, step + 1)
            axes.plot(seconds[past], rows[past, column], color=colour, ls=line, lw=1.7, zorder=3)
        axes.axvline(seconds[min(step, len(rows) - 1)], color=style.QUIET, lw=1, zorder=4)
        self._headline(axes, "Thrust")

    def _draw_state(self, shown: int, step: int) -> None:
        """Motion of the shown robot and the command it is about to carry out, in numbers."""
        row, change = self.recording.trajectories[shown][step], self.recording.thrust_change(shown, step)
        command = "none" if change is None else f"{change[0]:+.0f} | {change[1]:+.0f} N/s"
        goal = self.recording.world.robots[shown].goal
        entries = {
            "Distance to goal": f"{np.hypot(goal[0] - row[0], goal[1] - row[1]):.1f} m",
            "Speed over ground": f"{np.hypot(row[6], row[7]):.2f} m/s",
            "Speed through water": f"{np.hypot(row[3], row[4]):.2f} m/s",
            "Yaw rate": f"{np.degrees(row[5]):+.0f} °/s",
            "Thrust change, left | right": command,
        }
        for k, (name, value) in enumerate(entries.items()):
            place = (12.78 / SIZE[0], (5.1 - 0.46 * k) / SIZE[1])
            self.stage.figure.text(*place, name, fontsize=8, color=style.QUIET)
            place = (place[0], place[1] - 0.18 / SIZE[1])
            self.stage.figure.text(*place, style.signed(value), fontsize=10)
