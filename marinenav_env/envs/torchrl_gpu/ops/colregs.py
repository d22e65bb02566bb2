"""COLREGs tests on tensors (environment spec 8): who must turn to starboard, and by how much.

Angles are compared through their vectors, without `atan2`; only the turn of the object chosen needs one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import (
    HEAD_ON_LENGTH,
    HEAD_ON_WIDTH,
    LEFT_CROSSING_X,
    LEFT_CROSSING_Y_FRONT,
    PASSING_MARGIN,
    STATIC_SPEED,
)


class Objects(NamedTuple):
    """Perceived objects in the observer's body frame; tensors broadcast together."""

    x: Tensor
    y: Tensor
    vx: Tensor
    vy: Tensor
    radius: Tensor


def starboard_turn(
    rows: Sequence[tuple[Tensor, ...]], velocity: tuple[Tensor, Tensor], own_r: Tensor
) -> tuple[Tensor, Tensor]:
    """Whether the rules apply, bool [R, E], and the turn phi in (0, π), else 0 (rad) (environment spec 8.1).

    The first of `rows` to which they apply decides: objects nearest first, zeros where there is none, which
    does not move. `velocity` is the own one over ground, body frame (m/s), `own_r` in m.
    """
    forward = starboard = torch.zeros_like(velocity[0])
    moving = torch.sqrt(velocity[0] ** 2 + velocity[1] ** 2) >= STATIC_SPEED
    mirrored = velocity[0], -velocity[1]
    for row in reversed(rows):  # so that the nearest has the last word
        objects = Objects(*row)
        turn = turn_vector(objects, mirrored, own_r)
        # phi is the direction of this vector, so this is the test of phi > 0. Quirk W19: too close an object
        # makes NaN here, which is not positive. Quirk W20: turns of π or more count as none.
        applies = encounter(objects, velocity) & moving & (turn[1] > 0)
        forward, starboard = torch.where(applies, turn[0], forward), torch.where(applies, turn[1], starboard)
    return starboard > 0, torch.atan2(starboard, forward)


def encounter(objects: Objects, velocity: tuple[Tensor, Tensor]) -> Tensor:
    """Whether who moves is in the left-crossing or head-on zone of an object (environment spec 8.2)."""
    speed = torch.sqrt(objects.vx**2 + objects.vy**2)
    # axes along the target's velocity; a slow target has no such axes and drops out
    cos, sin = objects.vx / speed, objects.vy / speed
    x, y = -(cos * objects.x + sin * objects.y), sin * objects.x - cos * objects.y
    vx, vy = cos * velocity[0] + sin * velocity[1], cos * velocity[1] - sin * velocity[0]
    zone = in_left_crossing_zone(x, y, vx, vy) | in_head_on_zone(x, y, vx, vy)
    return zone & (speed >= STATIC_SPEED)


def in_left_crossing_zone(x: Tensor, y: Tensor, vx: Tensor, vy: Tensor) -> Tensor:
    """Own position (m) and velocity (m/s) in the target's frame lie in its left-crossing zone."""
    (x0, x1), (y0, y1) = LEFT_CROSSING_X, LEFT_CROSSING_Y_FRONT
    box = (x >= x0) & (x <= x1) & (y >= y0) & (y <= 0)
    beyond_line = y - y1 > (y1 / x1) * (x - x1)
    return box & ~beyond_line & (vy >= vx.abs())


def in_head_on_zone(x: Tensor, y: Tensor, vx: Tensor, vy: Tensor) -> Tensor:
    """Own position (m) and velocity (m/s) in the target's frame lie in its head-on zone."""
    box = (x >= 0) & (x <= HEAD_ON_LENGTH) & (y.abs() <= HEAD_ON_WIDTH / 2)
    return box & (vx < -vy.abs())


def turn_vector(objects: Objects, mirrored: tuple[Tensor, Tensor], own_r: Tensor) -> tuple[Tensor, Tensor]:
    """Vector whose direction is phi, the turn that still passes the target to port (environment spec 8.3).

    phi = η + α1 + α2 − ε is the direction of the complex product p · (s + iq) · (s + iR) · conj(e), where p
    is the target's position, q its radius and margin, s = √(|p|² − q²), R the own radius, e the own velocity;
    `mirrored` is conj(e).
    """
    q = objects.radius + PASSING_MARGIN
    s = torch.sqrt(objects.x**2 + objects.y**2 - q * q)
    forward, starboard = _product(objects.x, objects.y, s, q)
    forward, starboard = _product(forward, starboard, s, own_r)
    return _product(forward, starboard, *mirrored)


def _product(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return a * c - b * d, a * d + b * c
