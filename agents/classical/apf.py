"""Artificial potential fields: the goal attracts, objects repel, the more so the faster they come nearer.

O. Khatib, "Real-Time Obstacle Avoidance for Manipulators and Mobile Robots", IJRR 5(1), 1986; for moving
objects the force of S. S. Ge and Y. J. Cui, "Dynamic Motion Planning for Mobile Robots Using Potential Field
Method", Autonomous Robots 13, 2002, equations 20 to 24: a repulsion from the object, and one across it, away
from where it is coming. As in the rules of the road, what comes head-on is passed to starboard (H. Lyu and
Y. Yin, "COLREGS-Constrained Real-time Path Planning for Autonomous Ships Using Modified Artificial Potential
Fields", Journal of Navigation 72, 2019).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.classical.autopilot import Tuning
from agents.classical.policy import ClassicalPolicy
from marinenav_env.envs.reference.vessel import Vessel


class Field(NamedTuple):
    """Constants of the potential field."""

    reach: float = 12.0  # gap below which an object repels (m)
    repulsion: float = 6.0  # weight of it beside the goal's attraction of 1 (m)
    across: float = 2.0  # share of the force across the line of sight
    braking: float = 0.4  # greatest deceleration reckoned with (m/s²)
    margin: float = 0.0  # kept beyond the hulls (m)
    starboard: float = 0.25  # bearing (rad) up to which an object ahead is passed to starboard
    closest: float = 1.1  # gap at which the repulsion stops growing (m)
    speed: float = 1.6  # in open water (m/s)


class APF(ClassicalPolicy):
    """Steers along the force of the potential field at the speed that is left of it."""

    agent_type = "APF"
    autopilot = Tuning(drift=0.35, turn=1.3, turn_time=1.1, speed_time=0.95, least_turn=320.0)

    def __init__(
        self,
        continuous: bool = True,
        field: Field = Field(),  # noqa: B008 (immutable)
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__(continuous, tuning)
        self.field = field

    def wanted_velocity(self, own: Tensor, objects: Tensor, seen: Tensor) -> Tensor:
        """See `ClassicalPolicy`."""
        goal = own[:, :2]
        attraction = goal / goal.norm(dim=1, keepdim=True).clamp(min=1e-6)
        push = torch.where(seen[..., None], self._push(own[:, 2:4], objects), 0.0).sum(1)
        force = attraction + push
        return self.field.speed * force / force.norm(dim=1, keepdim=True).clamp(min=1.0)

    def _push(self, velocity: Tensor, objects: Tensor) -> Tensor:
        """Force of every object, (N, 5, 2)."""
        f = self.field
        position = objects[..., :2]
        distance = position.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        towards = position / distance
        relative = velocity[:, None] - objects[..., 2:4]
        closing = (relative * towards).sum(-1, keepdim=True)
        gap = distance - objects[..., 4:] - Vessel.r - f.margin
        left = (gap - closing.clamp(min=0) ** 2 / (2 * f.braking)).clamp(min=f.closest)
        active = (closing > 0) & (left < f.reach)
        strength = f.repulsion * (1 / left - 1 / f.reach)
        aside = self._aside(relative, towards)
        away = -towards * (1 + closing / f.braking)
        force = strength * (away + f.across * aside * closing / f.braking)
        return torch.where(active, force, 0.0)

    def _aside(self, relative: Tensor, towards: Tensor) -> Tensor:
        """Unit vectors across the line of sight: where the motion leads already, or to starboard."""
        side = torch.stack((-towards[..., 1], towards[..., 0]), -1)  # to starboard of the line of sight
        leads = (relative * side).sum(-1, keepdim=True)
        ahead = torch.atan2(towards[..., 1:], towards[..., :1]).abs() < self.field.starboard
        return side * torch.where(ahead | (leads > 0), 1.0, -1.0)
