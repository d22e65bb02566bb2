"""The WAM-V catamaran to scale, seen from above (environment spec 18).

Shapes are in body coordinates (s, f): metres to starboard and forward of the vessel's centre.
On the map, North is up: horizontal = East (y), vertical = North (x), and yaw turns clockwise.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from marinenav_env.envs.reference.robot import Robot
from scripts.drawing.style import INK

Shape = np.ndarray
"""Corners (n, 2) in (s, f)."""


def trapezoid(s: float, rear_width: float, front_width: float, rear: float, front: float) -> Shape:
    """Symmetric about the line at ``s``, from f = ``rear`` to f = ``front``."""
    r, t = rear_width / 2, front_width / 2
    return np.array([[s - r, rear], [s - t, front], [s + t, front], [s + r, rear]])


def turned(shape: Shape, angle: float, pivot: Sequence[float] = (0.0, 0.0)) -> Shape:
    """``shape`` turned clockwise (towards starboard) by ``angle`` rad about ``pivot``."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (shape - pivot) @ np.array([[cos, -sin], [sin, cos]]) + pivot


def hull_parts(robot: Robot, side: int) -> dict[str, Shape]:
    """Tip, middle, rear and beam base of the port (``side`` = -1) or starboard (+1) hull."""
    s = side * (robot.width - robot.hull_width) / 2
    rear = -robot.length / 2 + robot.thruster_length + robot.thruster_gap
    middle = rear + robot.hull_rear_length
    tip = robot.length / 2 - robot.hull_tip_length
    base = robot.beam_base_length / 2
    return {
        "hull tip": trapezoid(s, robot.hull_width, robot.hull_tip_width, tip, robot.length / 2),
        "hull middle": trapezoid(s, robot.hull_width, robot.hull_width, middle, tip),
        "hull rear": trapezoid(s, robot.hull_rear_width, robot.hull_width, rear, middle),
        "beam base": trapezoid(s, robot.beam_base_width, robot.beam_base_width, -base, base),
    }


def thruster(robot: Robot, side: int, angle: float) -> Shape:
    """Thruster of one side, turned about its front end by its angle (rad, clockwise positive)."""
    s = side * (robot.width - robot.hull_width) / 2
    tip, front = -robot.length / 2, -robot.length / 2 + robot.thruster_length
    shape = trapezoid(s, robot.thruster_tip_width, robot.thruster_rear_width, tip, front)
    return turned(shape, angle, (s, front))


def deck_parts(robot: Robot) -> dict[str, Shape]:
    """Two beams that join the hulls, and the platform on top."""
    half = robot.beam_distance / 2
    beams = {
        name: trapezoid(
            0.0, robot.beam_length, robot.beam_length, f - robot.beam_width / 2, f + robot.beam_width / 2
        )
        for name, f in (("rear beam", -half), ("front beam", half))
    }
    platform = trapezoid(
        0.0, robot.platform_width, robot.platform_width, -robot.platform_length / 2, robot.platform_length / 2
    )
    return {**beams, "platform": platform}


def catamaran(robot: Robot, left_angle: float = 0.0, right_angle: float = 0.0) -> dict[str, Shape]:
    """All parts by name, lowest first; ``left_angle``, ``right_angle`` are the thruster angles (rad)."""
    parts = {}
    for side, name, angle in ((-1, "port", left_angle), (1, "starboard", right_angle)):
        parts[f"{name} thruster"] = thruster(robot, side, angle)
        parts |= {f"{name} {part}": shape for part, shape in hull_parts(robot, side).items()}
    return parts | deck_parts(robot)


def on_map(shape: Shape, x: float, y: float, theta: float) -> np.ndarray:
    """Body corners (s, f) to map corners (East, North), for a vessel at x, y (m) with yaw theta (rad)."""
    return turned(shape, theta) + np.array([y, x])


def paint(part: str, colour: str) -> tuple[float, float, float]:
    """Hulls in the vessel's colour, thrusters dark, platform pale: readable at thumbnail size."""
    if "thruster" in part:
        return to_rgb(INK)
    towards_white = 0.75 if part == "platform" else 0.45 if "beam" in part else 0.0
    rgb = np.asarray(to_rgb(colour))
    return tuple(rgb + (1.0 - rgb) * towards_white)


def draw_vessel(
    axes: Axes,
    robot: Robot,
    pose: Sequence[float],
    colour: str,
    angles: Sequence[float] = (0.0, 0.0),
    **style: object,
) -> PolyCollection:
    """Draw a catamaran at ``pose`` x, y (m), theta (rad), thrusters at left and right ``angles`` (rad)."""
    parts = catamaran(robot, *angles)
    vessel = PolyCollection(
        [on_map(shape, *pose) for shape in parts.values()],
        facecolors=[paint(part, colour) for part in parts],
        edgecolors=INK,
        linewidths=0.5,
        **style,
    )
    return axes.add_collection(vessel, autolim=False)
