"""Optimal reciprocal collision avoidance: the velocity nearest to the wanted one that no neighbour forbids.

J. van den Berg, S. J. Guy, M. Lin and D. Manocha, "Reciprocal n-Body Collision Avoidance", Robotics Research,
2011: each object forbids a half-plane of velocities, half of the way out of its velocity obstacle being left
to the other vessel, all of it before what lies still. The vessel cannot turn on the spot; its disc is taken
larger by what it needs to follow (J. Snape et al., "Smooth and Collision-Free Navigation for Multiple Robots
Under Differential-Drive Constraints", IROS 2010).

The linear programme in the plane is solved in closed form for all vessels at once: its optimum is the wanted
velocity, its projection on a line, or a corner. Where nothing is allowed, the velocity of a grid that
violates least is taken.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from agents.classical.autopilot import STEP, TOP_SPEED, Tuning
from agents.classical.policy import ClassicalPolicy
from marinenav_env.envs.contract.constants import STATIC_SPEED
from marinenav_env.envs.contract.layout import OBJECT_ROWS
from marinenav_env.envs.reference.vessel import Vessel

SLACK = 1e-4
"""Violation (m/s) that counts as none."""


class Reciprocal(NamedTuple):
    """Constants of the avoidance."""

    horizon: float = 7.8  # no collision with a vessel within (s)
    still_horizon: float = 8.0  # with what lies still (s)
    margin: float = 2.1  # kept beyond the hulls (m)
    share: float = 0.9  # of the way out of a vessel's velocity obstacle that is taken
    speed: float = 1.6  # wanted on the way to the goal (m/s)


class Lines(NamedTuple):
    """Half-planes of allowed velocities: (v - point) · normal ≥ 0; nothing where not in use. (N, 5, 2)."""

    point: Tensor
    normal: Tensor
    used: Tensor  # bool (N, 5)

    def violation(self, velocities: Tensor) -> Tensor:
        """How far velocities (N, K, 2) lie on the wrong side of the worst line, (N, K) (m/s)."""
        offset = (self.point * self.normal).sum(-1)
        depth = offset[:, None] - velocities @ self.normal.transpose(1, 2)  # (N, K, 5)
        return torch.where(self.used[:, None], depth, -torch.inf).amax(-1)


class ORCA(ClassicalPolicy):
    """Goes straight for the goal at the wanted speed, as far as the half-planes allow."""

    agent_type = "ORCA"
    autopilot = Tuning(drift=0.8, turn=0.8, turn_time=0.65, speed_time=1.75, least_turn=270.0)

    def __init__(
        self,
        continuous: bool = True,
        reciprocal: Reciprocal = Reciprocal(),  # noqa: B008 (immutable)
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__(continuous, tuning)
        self.reciprocal = reciprocal

    def wanted_velocity(self, own: Tensor, objects: Tensor, seen: Tensor) -> Tensor:
        """See `ClassicalPolicy`."""
        goal = own[:, :2]
        wanted = goal * (self.reciprocal.speed / goal.norm(dim=1, keepdim=True).clamp(min=1e-6))
        lines = self._lines(own[:, 2:4], objects, seen)
        velocity = nearest_allowed(wanted, lines)
        none = ~velocity.isfinite().all(1)
        if none.any():
            some = Lines(*(part[none] for part in lines))
            velocity[none] = least_violating(wanted[none], some)
        return velocity

    def _lines(self, velocity: Tensor, objects: Tensor, seen: Tensor) -> Lines:
        r = self.reciprocal
        moves = objects[..., 2:4].norm(dim=-1, keepdim=True) >= STATIC_SPEED
        horizon = torch.where(moves, r.horizon, r.still_horizon)
        share = torch.where(moves, r.share, 1.0)
        radius = objects[..., 4:] + Vessel.r + r.margin
        relative = velocity[:, None] - objects[..., 2:4]
        way_out, normal = out_of_obstacle(objects[..., :2], relative, radius, horizon)
        return Lines(velocity[:, None] + share * way_out, normal, seen)


def out_of_obstacle(
    position: Tensor, relative: Tensor, radius: Tensor, horizon: Tensor
) -> tuple[Tensor, Tensor]:
    """The shortest change of relative velocities out of (or into) the velocity obstacles, and its normal.

    All (N, 5, 2), or (N, 5, 1) for radius (m) and horizon (s). The obstacle is a cone cut off by a disc; of
    what already overlaps, the disc of a single step.
    """
    squared = (position**2).sum(-1, keepdim=True)
    overlap = squared <= radius**2
    horizon = torch.where(overlap, STEP, horizon)
    from_disc = relative - position / horizon
    along = (from_disc * position).sum(-1, keepdim=True)
    length = from_disc.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    on_disc = overlap | ((along < 0) & (along**2 > radius**2 * length**2))
    disc_normal = from_disc / length
    disc_way = (radius / horizon - length) * disc_normal

    tangent = torch.sqrt((squared - radius**2).clamp(min=0.0))
    x, y = position[..., :1], position[..., 1:]
    starboard = x * from_disc[..., 1:] - y * from_disc[..., :1] > 0  # side on which the velocity leaves
    turn = torch.where(starboard, radius, -radius)
    leg = torch.cat((x * tangent - y * turn, x * turn + y * tangent), -1) / squared.clamp(min=1e-6)
    normal = torch.cat((-leg[..., 1:], leg[..., :1]), -1) * torch.where(starboard, 1.0, -1.0)
    leg_way = (relative * leg).sum(-1, keepdim=True) * leg - relative
    return torch.where(on_disc, disc_way, leg_way), torch.where(on_disc, disc_normal, normal)


def nearest_allowed(wanted: Tensor, lines: Lines) -> Tensor:
    """The allowed velocities (N, 2) nearest to the wanted ones within the top speed; infinite if none is."""
    corners = [wanted[:, None], _projections(wanted, lines), _crossings(lines), _on_circle(lines)]
    velocities = torch.nan_to_num(torch.cat(corners, 1), nan=1e3, posinf=1e3, neginf=1e3)
    allowed = lines.violation(velocities) <= SLACK
    allowed &= velocities.norm(dim=-1) <= TOP_SPEED + SLACK
    distance = torch.where(allowed, (velocities - wanted[:, None]).norm(dim=-1), torch.inf)
    best = distance.argmin(1)
    chosen = velocities[torch.arange(len(best), device=best.device), best]
    return torch.where(allowed.any(1, keepdim=True), chosen, torch.inf)


def least_violating(wanted: Tensor, lines: Lines) -> Tensor:
    """Of a polar grid of velocities the one that violates the lines least, (N, 2)."""
    grid = _grid(wanted)
    worst = lines.violation(grid.expand(len(wanted), -1, -1))
    distance = (grid - wanted[:, None]).norm(dim=-1)
    return grid[(worst + 1e-3 * distance).argmin(1)]


def _grid(like: Tensor, speeds: int = 5, courses: int = 32) -> Tensor:
    """Velocities (K, 2) within the top speed."""
    angle = torch.arange(courses, device=like.device, dtype=like.dtype) * (2 * math.pi / courses)
    speed = torch.linspace(TOP_SPEED / speeds, TOP_SPEED, speeds, device=like.device, dtype=like.dtype)
    rings = torch.stack((speed[:, None] * angle.cos(), speed[:, None] * angle.sin()), -1).flatten(0, 1)
    return torch.cat((rings.new_zeros(1, 2), rings))


def _projections(wanted: Tensor, lines: Lines) -> Tensor:
    """The wanted velocity on each line, (N, 5, 2)."""
    depth = ((wanted[:, None] - lines.point) * lines.normal).sum(-1, keepdim=True)
    return wanted[:, None] - depth * lines.normal


def _crossings(lines: Lines) -> Tensor:
    """Where each two lines cross, (N, 10, 2); not finite where they are parallel."""
    first, second = torch.triu_indices(OBJECT_ROWS, OBJECT_ROWS, 1, device=lines.point.device)
    offset = (lines.point * lines.normal).sum(-1)
    (ax, ay), (bx, by) = lines.normal[:, first].unbind(-1), lines.normal[:, second].unbind(-1)
    a, b, det = offset[:, first], offset[:, second], ax * by - ay * bx
    return torch.stack(((a * by - b * ay) / det, (ax * b - bx * a) / det), -1)


def _on_circle(lines: Lines) -> Tensor:
    """Where each line meets the circle of the top speed, (N, 10, 2); NaN where it does not."""
    offset = (lines.point * lines.normal).sum(-1, keepdim=True)
    along = torch.stack((-lines.normal[..., 1], lines.normal[..., 0]), -1)
    half = torch.sqrt(TOP_SPEED**2 - offset**2)
    foot = offset * lines.normal
    return torch.cat((foot + half * along, foot - half * along), 1)
