"""How vessels conduct themselves: paths, separations, and whether they keep the traffic rule of the world.

All from true states, without the noise of sensors. A duty begins when the rule of the world (environment spec
8) asks a vessel to turn to starboard so as to leave another one to port, both being in the other's sensor
range. It ends when the two have come apart again by a metre, or touch. It is kept if at the point where they
were nearest the other one lay on the vessel's port side, and they did not touch. A duty that does not end,
because one of the two arrives or the episode ends before, is not counted.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.ops.colregs import starboard_turn
from marinenav_env.envs.torchrl_gpu.ops.sensor import other_robots, static_obstacles
from marinenav_env.envs.torchrl_gpu.ops.vessel import rotate
from marinenav_env.envs.torchrl_gpu.state import (
    GROUND_X,
    GROUND_Y,
    OBSTACLES,
    THETA,
    RobotParams,
    WorldState,
    X,
    Y,
    present,
)

APART = 1.0
"""Metres beyond the smallest distance at which an encounter is over."""
NOBODY = 1e6
"""Distances (m) beyond this are to what is not in the water."""


class Pairs(NamedTuple):
    """What robots R have around them: the other robots by index, true, [R - 1, R, E]."""

    starboard: Tensor  # how far to starboard they lie (m)
    distance: Tensor  # of the centres (m)
    gap: Tensor  # between the two discs (m)
    duty: Tensor  # whether the rule asks for a turn that leaves this one to port, bool


class Duties(NamedTuple):
    """Turns that the rule has asked for; E episodes last."""

    open: Tensor  # bool [R - 1, R, E]
    nearest: Tensor  # smallest distance since, [R - 1, R, E] (m)
    port: Tensor  # whether the other one lay to port there, bool [R - 1, R, E]
    ended: Tensor  # how many of each robot have ended, int64 [R, E]
    kept: Tensor  # how many of these were kept, int64 [R, E]

    @classmethod
    def new(cls, state: WorldState) -> "Duties":
        """No duties yet, of episodes that begin."""
        count = torch.zeros_like(state.active, dtype=torch.int64)
        no = count.new_zeros(len(count) - 1, *count.shape, dtype=torch.bool)
        return cls(no, no.to(state.motion.dtype), no, count, count)

    def after(self, pairs: Pairs, running: Tensor) -> "Duties":
        """With a step that led to these pairs, in episodes that were running [E]."""
        opened = self.open | pairs.duty
        nearer = opened & (~self.open | (pairs.distance < self.nearest))
        nearest = torch.where(nearer, pairs.distance, self.nearest)
        port = torch.where(nearer, pairs.starboard < 0, self.port)
        there = pairs.distance < NOBODY
        touch = pairs.gap <= 0
        ended = opened & there & running & (touch | (pairs.distance > nearest + APART))
        kept = ended & port & ~touch
        return Duties(
            opened & there & ~ended,
            nearest,
            port,
            self.ended + ended.sum(0),
            self.kept + kept.sum(0),
        )


class Conduct(NamedTuple):
    """What is measured of episodes under way; E episodes last."""

    paths: Tensor  # sailed by each robot, [R, E] (m)
    vessel_gap: Tensor  # smallest gap between two vessels, [E] (m), infinite while there is none
    buoy_gap: Tensor  # smallest gap between a vessel and a buoy, [E] (m)
    hit_vessel: Tensor  # whether a vessel was hit, bool [E]
    hit_buoy: Tensor  # whether a buoy was hit, bool [E]
    duties: Duties

    @classmethod
    def new(cls, state: WorldState) -> "Conduct":
        """Of episodes that begin."""
        far = torch.full_like(state.motion[0, 0], torch.inf)
        no = torch.zeros_like(far, dtype=torch.bool)
        return cls(torch.zeros_like(state.motion[0]), far, far, no, no, Duties.new(state))

    def after(
        self, before: WorldState, now: WorldState, robot: RobotParams, acting: Tensor, running: Tensor
    ) -> "Conduct":
        """With a step from one state to the next, of robots `acting` [R, E] in episodes `running` [E]."""
        moved = torch.hypot(now.motion[X] - before.motion[X], now.motion[Y] - before.motion[Y])
        seen = now._replace(active=before.active)  # who finishes with the step was there until its end
        pairs = pairs_of(seen, robot)
        vessels = _least(pairs.gap, acting)
        buoys = _least(gaps_to_buoys(seen, robot), acting)
        hit = (now.collision > 0) & acting
        return Conduct(
            self.paths + torch.where(acting, moved, 0.0),
            torch.minimum(self.vessel_gap, vessels.amin(0)),
            torch.minimum(self.buoy_gap, buoys.amin(0)),
            self.hit_vessel | (hit & (vessels <= 0)).any(0),
            self.hit_buoy | (hit & (buoys <= 0)).any(0),
            self.duties.after(pairs, running),
        )


def pairs_of(state: WorldState, robot: RobotParams) -> Pairs:
    """True positions of the other robots, and whom the rule asks to give way to whom."""
    motion, there = state.motion, state.active > 0
    other = other_robots(state, robot)
    cos, sin = torch.cos(motion[THETA]), torch.sin(motion[THETA])
    north, east = other.x - motion[X], other.y - motion[Y]
    x, y = rotate(cos, -sin, north, east)
    velocity = rotate(cos, -sin, motion[GROUND_X], motion[GROUND_Y])
    row = x, y, *rotate(cos, -sin, other.vx, other.vy), other.radius
    asked, _ = starboard_turn([row], velocity, robot.r)  # of each by itself, not only of the nearest
    distance = torch.sqrt(north**2 + east**2)
    gap = torch.where(there, distance - other.radius - robot.r, torch.inf)
    duty = asked & there & (distance <= robot.range + other.radius)
    return Pairs(y, torch.where(there, distance, 2 * NOBODY), gap, duty)


def gaps_to_buoys(state: WorldState, robot: RobotParams) -> Tensor:
    """Gaps (m) between robots and static obstacles, [O, R, E]; O may be 0."""
    buoys = static_obstacles(state)
    north, east = buoys.x - state.motion[X], buoys.y - state.motion[Y]
    gap = torch.sqrt(north**2 + east**2) - buoys.radius - robot.r
    exists = present(state.scenario.counts[OBSTACLES], len(gap))
    return torch.where(exists[:, None], gap, torch.inf)


def _least(gaps: Tensor, acting: Tensor) -> Tensor:
    """The smallest of gaps [k, R, E] for each robot that acts, infinite for others and where k is 0."""
    if not len(gaps):
        return torch.full_like(acting, torch.inf, dtype=gaps.dtype)
    return torch.where(acting, gaps.amin(0), torch.inf)
