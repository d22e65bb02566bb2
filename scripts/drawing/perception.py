"""What one robot perceives: objects with sensor noise, COLREGs zones and duty, in its own frame.

Panel coordinates are (starboard, forward) in metres, so that the bow points up. Observations are in
(forward, starboard), as the robot gets them (environment spec 7).
"""

from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, sin

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Arc, Circle, FancyArrowPatch, Patch, Polygon, Wedge

from marinenav_env.envs.contract.constants import STATIC_SPEED
from marinenav_env.envs.reference.robot import Robot
from scripts.drawing import style
from scripts.drawing.recording import Recording
from scripts.drawing.vessel import draw_vessel

LEAD = 3.0
"""Velocity arrows show the way made in this time (s)."""
SLOWEST_ARROW = 0.3
"""Slower than this (m/s) there is no arrow: sensor noise gives everything a velocity."""


@dataclass
class Duty:
    """A COLREGs rule that obliges a robot to turn: the object, its zone, the turn to starboard (rad)."""

    target: int
    zone: str
    turn: float

    def __str__(self) -> str:
        """One line for the panel."""
        return f"{self.zone.lower()}, turn {degrees(self.turn):.0f}° to starboard"


def probe_of(robot: Robot, self_state: list[float]) -> Robot:
    """Robot of the same size at the origin of the body frame, to ask the traffic rules in that frame."""
    probe = Robot()
    probe.r = robot.r
    probe.x = probe.y = probe.theta = 0.0
    probe.velocity = np.array([self_state[2], self_state[3], 0.0])
    return probe


def colregs_duty(robot: Robot, self_state: list[float], objects: list[list[float]]) -> Duty | None:
    """Duty towards the first object that gives one, as the environment finds it (environment spec 8)."""
    probe = probe_of(robot, self_state)
    for k, seen in enumerate(objects):
        if probe.check_apply_COLREGs(seen):
            head_on = probe.check_in_head_on_zone(*probe.project_ego_to_vehicle_frame(seen))
            return Duty(k, "Head-on" if head_on else "Crossing", probe.phi)
    return None


def zones(robot: Robot, seen: list[float]) -> dict[str, np.ndarray]:
    """Corners (starboard, forward) of the two zones of an observed object (environment spec 8.2)."""
    x0, x1 = robot.left_crossing_zone_x_dim
    y0, y1 = robot.left_crossing_zone_y_dim_front
    length, half = robot.head_on_zone_x_dim, robot.head_on_zone_y_dim / 2
    corners = {
        "Head-on": [(0, -half), (length, -half), (length, half), (0, half)],
        "Crossing": [(x0, 0), (0, 0), (x1, y1), (x1, y0), (x0, y0)],
    }
    course = atan2(seen[3], seen[2])
    forward, starboard = (cos(course), -sin(course)), (sin(course), cos(course))
    return {
        zone: np.array(
            [(seen[1] + np.dot(starboard, c), seen[0] + np.dot(forward, c)) for c in map(np.array, shape)]
        )
        for zone, shape in corners.items()
    }


def frame_perception(axes: Axes, robot: Robot) -> None:
    """Sensor range with rings every 10 m, and axes of the body frame."""
    reach = robot.perception.range
    half = min(degrees(robot.perception.angle) / 2, 180.0)
    axes.add_patch(
        Wedge((0, 0), reach, 90 - half, 90 + half, facecolor="#eef6ee", edgecolor="#8fb08f", lw=1, zorder=0)
    )
    for ring in np.arange(10.0, reach, 10.0):
        axes.add_patch(
            Circle((0, 0), ring, fill=False, edgecolor="#c3d6c3", lw=0.8, ls=(0, (2, 3)), zorder=0)
        )
    limit = reach + 3.0  # a vessel seen at the edge is drawn whole
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set(xlabel="starboard (m)", ylabel="forward (m)")
    for spine in axes.spines.values():
        spine.set_visible(False)


def arrow(
    axes: Axes, origin: tuple[float, float], velocity: tuple[float, float], colour: str, zorder: int
) -> None:
    """Arrow of the way made in LEAD seconds, in axes coordinates, at its true length (Defect T17)."""
    if hypot(*velocity) < SLOWEST_ARROW:
        return
    tip = (origin[0] + LEAD * velocity[0], origin[1] + LEAD * velocity[1])
    axes.add_patch(
        FancyArrowPatch(
            origin,
            tip,
            arrowstyle="-|>",
            mutation_scale=9,
            color=colour,
            lw=1.4,
            shrinkA=0,
            shrinkB=0,
            zorder=zorder,
        )
    )


def to_body(row: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """World point (x, y) to (forward, starboard) of the robot with trajectory row ``row``."""
    dx, dy, theta = x - row[0], y - row[1], row[2]
    return cos(theta) * dx + sin(theta) * dy, cos(theta) * dy - sin(theta) * dx


def draw_truth(axes: Axes, recording: Recording, index: int, step: int) -> None:
    """Where the objects within reach really are: obstacles as discs, vessels with the disc that collides."""
    row, world = recording.trajectories[index][step], recording.world
    reach = world.robots[index].perception.range
    for disc in world.obstacles:
        forward, starboard = to_body(row, disc.x, disc.y)
        if hypot(forward, starboard) <= reach + disc.r:
            axes.add_patch(
                Circle((starboard, forward), disc.r, facecolor=style.OBSTACLE, alpha=0.55, lw=0, zorder=2)
            )
    for k, other in enumerate(world.robots):
        if k == index or not recording.in_water(k, step):
            continue
        there = recording.trajectories[k][step]
        forward, starboard = to_body(row, *there[:2])
        if hypot(forward, starboard) > reach + other.r:
            continue
        colour = style.robot_colour(k)
        pose = (forward, starboard, there[2] - row[2])
        draw_vessel(axes, other, pose, colour, there[9:11], zorder=3)
        axes.add_patch(
            Circle((starboard, forward), other.r, fill=False, ec=colour, ls=(0, (1, 1.5)), zorder=3)
        )


def draw_goal_bearing(axes: Axes, robot: Robot, index: int, self_state: list[float]) -> None:
    """Goal as a star, or, where it is out of reach, a pointer on the rim with the distance."""
    forward, starboard = self_state[:2]
    distance, reach, colour = hypot(forward, starboard), robot.perception.range, style.robot_colour(index)
    place = np.array([starboard, forward])
    if distance > reach:
        place = place / distance * (reach - 1.2)
        text = place * (1 - 2.6 / reach)
        label = {"ha": "center", "va": "center", "fontsize": 8, "color": colour, "path_effects": style.halo()}
        axes.text(*text, f"goal\n{distance:.0f} m", zorder=7, **label)
    axes.plot(*place, "*", ms=14, mfc=colour, mec="white", zorder=6)


def draw_colregs(axes: Axes, robot: Robot, objects: list[list[float]], duty: Duty | None) -> None:
    """Zones of moving objects as outlines within the sensor range; the one with a duty is filled."""
    reach = Circle((0, 0), robot.perception.range, transform=axes.transData)
    for k, seen in enumerate(objects):
        if hypot(seen[2], seen[3]) < STATIC_SPEED:
            continue
        for zone, corners in zones(robot, seen).items():
            in_force = duty is not None and (k, zone) == (duty.target, duty.zone)
            # Dashes without a width are an error in Matplotlib 3.8.
            outline = {"fill": False, "alpha": 0.45, "lw": 0.8, "ls": (0, (4, 3))}
            look = {"alpha": 0.2, "lw": 0} if in_force else outline
            patch = axes.add_patch(Polygon(corners, color=style.DUTY, zorder=1, **look))
            patch.set_clip_path(reach)


def draw_turn(axes: Axes, self_state: list[float], duty: Duty) -> None:
    """Arc from the course made good to the course the rule asks for."""
    course = degrees(atan2(self_state[2], self_state[3]))  # counter-clockwise from starboard, as the panel is
    wanted = course - degrees(duty.turn)
    axes.add_patch(Arc((0, 0), 12, 12, theta1=wanted, theta2=course, color=style.DUTY, lw=2, zorder=7))
    tip = 6.0 * np.array([cos(np.radians(wanted)), sin(np.radians(wanted))])
    axes.plot([0, 1.4 * tip[0]], [0, 1.4 * tip[1]], color=style.DUTY, lw=1.2, ls=(0, (2, 2)), zorder=7)
    axes.plot(*tip, marker=(3, 0, wanted + 180), ms=8, color=style.DUTY, zorder=7)


def draw_perception(axes: Axes, recording: Recording, index: int, step: int) -> Duty | None:
    """Draw what robot ``index`` perceives at a step; return its COLREGs duty."""
    robot, row = recording.world.robots[index], recording.trajectories[index][step]
    self_state, objects = recording.observations[index][step]
    duty = colregs_duty(robot, self_state, objects)
    draw_colregs(axes, robot, objects, duty)
    draw_truth(axes, recording, index, step)
    draw_vessel(axes, robot, (0, 0, 0), style.robot_colour(index), row[9:11], zorder=5)
    arrow(axes, (0.0, 0.0), (self_state[3], self_state[2]), style.INK, 6)
    for seen in objects:
        centre = (seen[1], seen[0])
        axes.add_patch(Circle(centre, seen[4], fill=False, edgecolor=style.OBSERVED, lw=1.6, zorder=4))
        axes.plot(*centre, "+", color=style.OBSERVED, ms=5, zorder=4)
        arrow(axes, centre, (seen[3], seen[2]), style.OBSERVED, 4)
    if duty:
        draw_turn(axes, self_state, duty)
    draw_goal_bearing(axes, robot, index, self_state)
    return duty


def perception_legend() -> list[Line2D | Patch]:
    """Legend entries of the panel."""
    return [
        Line2D(
            [], [], ls="none", marker="o", ms=10, mfc="none", mec=style.OBSERVED, mew=1.6, label="observed"
        ),
        Line2D(
            [],
            [],
            ls="none",
            marker="o",
            ms=9,
            mfc=style.OBSTACLE,
            mec="none",
            alpha=0.55,
            label="true obstacle",
        ),
        Line2D([], [], ls=(0, (1, 1.5)), color=style.QUIET, label="true vessel"),
        Line2D([], [], color=style.INK, marker=">", ms=5, label=f"way made in {LEAD:g} s"),
        Patch(facecolor="none", edgecolor=style.DUTY, ls=(0, (4, 3)), label="COLREGs zones"),
        Patch(facecolor=style.DUTY, alpha=0.25, label="duty in force"),
    ]
