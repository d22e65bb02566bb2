"""Optimal reciprocal collision avoidance: the velocity nearest to the wanted one that no neighbour forbids.

J. van den Berg, S. J. Guy, M. Lin and D. Manocha, "Reciprocal n-Body Collision Avoidance", Robotics Research,
2011: each object forbids a half-plane of velocities, half of the way out of its velocity obstacle being left
to the other vessel, all of it before what lies still. Neighbours are those that the sensor tells of, the five
nearest. The vessel cannot turn on the spot; its disc is taken larger by what it needs to follow (J. Snape et
al., "Smooth and Collision-Free Navigation for Multiple Robots Under Differential-Drive Constraints", IROS
2010).

The linear programme in the plane is solved line by line, as there (M. de Berg et al., "Computational
Geometry", chapter 4), for all vessels at once: where the velocity found so far is forbidden by the next line,
the new one lies on that line, in the interval that the lines before it and the top speed leave. Most wanted
velocities are allowed; only the others are looked at. Where nothing is allowed, the velocity of a grid that
violates least is taken. Vessels are the last axis, so that all arithmetic runs along contiguous memory.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from agents.classical.autopilot import STEP, TOP_SPEED, Tuning
from agents.classical.policy import ClassicalPolicy
from marinenav_env.envs.contract.constants import STATIC_SPEED
from marinenav_env.envs.reference.vessel import Vessel

SLACK = 1e-4
"""Violation (m/s) that counts as none."""
PARALLEL = 1e-6
"""Sine of the angle between two lines below which they do not cross."""
NO_LINE = -1e6
"""Offset (m/s) of a half-plane that holds every velocity."""


class Reciprocal(NamedTuple):
    """Constants of the avoidance."""

    horizon: float = 7.8  # no collision with a vessel within (s)
    still_horizon: float = 8.0  # with what lies still (s)
    margin: float = 2.1  # kept beyond the hulls (m)
    share: float = 0.9  # of the way out of a vessel's velocity obstacle that is taken
    speed: float = 1.6  # wanted on the way to the goal (m/s)


class Lines(NamedTuple):
    """Half-planes of allowed velocities, v · normal ≥ offset; [K, N], K for each of N vessels."""

    x: Tensor  # unit normal
    y: Tensor
    offset: Tensor  # m/s

    def of(self, chosen: Tensor) -> Self:
        """Those of some vessels, by index."""
        return type(self)(*(part.index_select(-1, chosen) for part in self))

    def violation(self, velocity: Tensor) -> Tensor:
        """How far velocities [2, N] lie on the wrong side of the worst line, [N] (m/s)."""
        return (self.offset - velocity[0] * self.x - velocity[1] * self.y).amax(0)


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
        goal, velocity = own[:, :2].T, own[:, 2:4].T
        wanted = goal * (self.reciprocal.speed / goal.norm(dim=0).clamp(min=1e-6))
        lines = self.lines(velocity.contiguous(), objects.permute(2, 1, 0).contiguous(), seen.T)
        return best_velocity(wanted.contiguous(), lines).T

    def lines(self, velocity: Tensor, objects: Tensor, seen: Tensor) -> Lines:
        """What the objects [5, K, N] that are seen, bool [K, N], forbid to vessels of a velocity [2, N]."""
        r = self.reciprocal
        x, y, vx, vy, radius = objects
        moves = torch.hypot(vx, vy) >= STATIC_SPEED
        horizon = torch.where(moves, r.horizon, r.still_horizon)
        share = torch.where(moves, r.share, 1.0)
        relative = velocity[0] - vx, velocity[1] - vy
        out, (nx, ny) = way_out((x, y), relative, radius + Vessel.r + r.margin, horizon)
        offset = velocity[0] * nx + velocity[1] * ny + share * out
        return Lines(nx, ny, torch.where(seen, offset, NO_LINE))


Vector = tuple[Tensor, Tensor]
"""Its two components."""


def way_out(position: Vector, relative: Vector, radius: Tensor, horizon: Tensor) -> tuple[Tensor, Vector]:
    """How far relative velocities must change to leave the velocity obstacles (m/s), and where to.

    The way is the shortest, along the unit vector given; negative for who is outside. All have one shape;
    radius in m, horizon in s. The obstacle is a cone cut off by a disc; of what already overlaps, the disc of
    a single step.
    """
    (x, y), (vx, vy) = position, relative
    squared = x * x + y * y
    overlap = squared <= radius**2
    horizon = torch.where(overlap, STEP, horizon)
    wx, wy = vx - x / horizon, vy - y / horizon  # from the middle of the disc
    length = torch.hypot(wx, wy).clamp(min=1e-6)
    along = wx * x + wy * y
    on_disc = overlap | ((along < 0) & (along**2 > radius**2 * length**2))

    tangent = torch.sqrt((squared - radius**2).clamp(min=0.0))
    side = torch.where(x * wy - y * wx > 0, 1.0, -1.0)  # 1: the velocity leaves to starboard
    turn, scale = radius * side, side / squared.clamp(min=1e-6)
    leg_x, leg_y = -(x * turn + y * tangent) * scale, (x * tangent - y * turn) * scale
    nx = torch.where(on_disc, wx / length, leg_x)
    ny = torch.where(on_disc, wy / length, leg_y)
    return torch.where(on_disc, radius / horizon - length, -(vx * nx + vy * ny)), (nx, ny)


def best_velocity(wanted: Tensor, lines: Lines) -> Tensor:
    """The allowed velocities [2, N] nearest to the wanted ones, or those that violate least."""
    wrong = (lines.violation(wanted) > SLACK).nonzero()[:, 0]
    if not len(wrong):
        return wanted
    some, theirs = wanted[:, wrong], lines.of(wrong)
    found, allowed = nearest_allowed(some, theirs)
    none = (~allowed).nonzero()[:, 0]
    if len(none):
        found[:, none] = least_violating(some[:, none], theirs.of(none))
    return wanted.index_copy(1, wrong, found)


def nearest_allowed(wanted: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
    """The allowed velocities [2, N] nearest to wanted ones below the top speed, and who has one, bool [N]."""
    x, y = wanted
    for k in range(len(lines.offset)):
        wrong = lines.offset[k] - x * lines.x[k] - y * lines.y[k] > SLACK
        on_x, on_y = _on_line(wanted, lines, k)
        x, y = torch.where(wrong, on_x, x), torch.where(wrong, on_y, y)
    velocity = torch.stack((x, y))
    return velocity, (lines.violation(velocity) <= SLACK) & (velocity.norm(dim=0) <= TOP_SPEED + SLACK)


def _on_line(wanted: Tensor, lines: Lines, k: int) -> Vector:
    """Nearest to the wanted velocities on line k, as far as the lines before it allow; any if they do not."""
    nx, ny, offset = (part[k] for part in lines)
    high = torch.sqrt((TOP_SPEED**2 - offset**2).clamp(min=0.0))
    low = -high
    for bx, by, b in zip(*(part[:k] for part in lines), strict=True):
        slope = nx * by - ny * bx  # how fast the margin to the other line grows along this one
        place = (b - offset * (nx * bx + ny * by)) / slope
        low = torch.where(slope > PARALLEL, torch.maximum(low, place), low)
        high = torch.where(slope < -PARALLEL, torch.minimum(high, place), high)
    place = wanted[1] * nx - wanted[0] * ny
    place = torch.where(low > high, (low + high) / 2, torch.minimum(torch.maximum(place, low), high))
    return offset * nx - place * ny, offset * ny + place * nx


def least_violating(wanted: Tensor, lines: Lines) -> Tensor:
    """Of a polar grid of velocities the one that violates the lines least, [2, N]."""
    grid = _grid(wanted)
    worst = torch.full((len(grid), wanted.shape[1]), -torch.inf, dtype=wanted.dtype, device=wanted.device)
    for nx, ny, offset in zip(*lines, strict=True):
        worst = torch.maximum(worst, torch.addmm(offset, grid, torch.stack((nx, ny)), alpha=-1))
    distance = torch.hypot(grid[:, :1] - wanted[0], grid[:, 1:] - wanted[1])
    return grid[(worst + 1e-3 * distance).argmin(0)].T


def _grid(like: Tensor, speeds: int = 5, courses: int = 32) -> Tensor:
    """Velocities (G, 2) within the top speed."""
    angle = torch.arange(courses, device=like.device, dtype=like.dtype) * (2 * math.pi / courses)
    speed = torch.linspace(TOP_SPEED / speeds, TOP_SPEED, speeds, device=like.device, dtype=like.dtype)
    rings = torch.stack((speed[:, None] * angle.cos(), speed[:, None] * angle.sin()), -1).flatten(0, 1)
    return torch.cat((rings.new_zeros(1, 2), rings))
