"""What each robot perceives, on tensors (environment spec 7): noise, detection, nearest five, collision.

Flags are int32, not bool: compiled CPU code takes one-byte masks apart element by element, which cost more
than all the rest. For the same reason what is out of the water is moved out of sight instead of masked.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.layout import OBJECT_ROWS
from marinenav_env.envs.torchrl_gpu.ops.colregs import starboard_turn
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, ObjectNoise
from marinenav_env.envs.torchrl_gpu.ops.vessel import rotate
from marinenav_env.envs.torchrl_gpu.state import (
    GROUND_X,
    GROUND_Y,
    GROUND_YAW,
    LEFT,
    OBSTACLES,
    RIGHT,
    THETA,
    Observation,
    RobotParams,
    WorldState,
    X,
    Y,
    present,
)

OUT_OF_SIGHT = 1e9  # m
NETWORK_SIZE = 40  # candidates up to which compiled code exchanges and selects; of more it would not end


class Perception(NamedTuple):
    """What one perception of all robots gives; flags are int32 [R, E]."""

    observation: Observation
    collision: Tensor  # sticky
    reach_goal: Tensor  # sticky
    apply_colregs: Tensor  # a turn is asked for
    phi: Tensor  # that turn to starboard (rad), [R, E]


class Observer(NamedTuple):
    """Where the observing robots are and what limits their sensors; [R, E] or broadcasting."""

    x: Tensor
    y: Tensor
    cos: Tensor
    minus_sin: Tensor
    range: Tensor


class Candidates(NamedTuple):
    """True state of what might be seen, world frame, [k, R, E] or broadcasting; absent ones are far off."""

    x: Tensor
    y: Tensor
    vx: Tensor
    vy: Tensor
    radius: Tensor


class Sight(NamedTuple):
    """Candidates as the sensors give them, [k, R, E]; gaps (m) are infinite where not detected."""

    features: tuple[Tensor, ...]  # x, y, vx, vy, radius in the observer's body frame
    gap: Tensor  # perceived distance between the discs, the key of the selection
    true_gap: Tensor  # true distance between the discs


def perceive(state: WorldState, p: RobotParams, noise: Noise) -> Perception:
    """Perception of all robots in the water after the motion; the others keep their flags and see nothing."""
    motion, active = state.motion, state.active > 0
    cos, minus_sin = torch.cos(motion[THETA]), -torch.sin(motion[THETA])
    velocity = rotate(cos, minus_sin, motion[GROUND_X], motion[GROUND_Y])
    goal_x, goal_y = state.scenario.goal[0] - motion[X], state.scenario.goal[1] - motion[Y]
    arrived = active & (torch.sqrt(goal_x**2 + goal_y**2) <= p.goal_dis)
    goal = rotate(cos, minus_sin, goal_x, goal_y)
    own = (*goal, *velocity, motion[GROUND_YAW], motion[LEFT], motion[RIGHT])
    nothing = torch.zeros_like(goal_x)  # a number would become a tensor in each call
    self_state = torch.stack([torch.where(active, value, nothing) for value in own])

    observer = Observer(motion[X], motion[Y], cos, minus_sin, torch.where(active, p.range, -OUT_OF_SIGHT))
    groups = (
        look(observer, static_obstacles(state), noise.obstacles, p),
        look(observer, other_robots(state, p), noise.robots, p),
    )
    features = [torch.cat(pair) for pair in zip(*(sight.features for sight in groups), strict=True)]
    gap = torch.cat([sight.gap for sight in groups])
    true_gap = torch.cat([sight.true_gap for sight in groups])
    collided = true_gap.amin(0) <= 0 if len(gap) else torch.zeros_like(active)

    rows, count = nearest(features, gap, p)
    apply_colregs, phi = starboard_turn(rows, velocity, p.r)
    rows = torch.stack([value for row in rows for value in row]).unflatten(0, (OBJECT_ROWS, -1))
    return Perception(
        observation=Observation(self_state=self_state, objects_state=rows, num_objects=count),
        collision=state.collision | collided.int(),
        reach_goal=state.reach_goal | arrived.int(),
        apply_colregs=apply_colregs.int(),
        phi=phi,
    )


def static_obstacles(state: WorldState) -> Candidates:
    """Obstacles of every environment, [O, 1, E]."""
    x, y, radius = state.scenario.obstacles[:, :, None]
    exists = present(state.scenario.counts[OBSTACLES], x.shape[0])[:, None]
    x = torch.where(exists, x, OUT_OF_SIGHT)
    return Candidates(x, y, torch.zeros_like(x), torch.zeros_like(x), radius)


def other_robots(state: WorldState, p: RobotParams) -> Candidates:
    """The robots that each robot has around it, by index, [R - 1, R, E]."""
    motion = state.motion
    x = torch.where(state.active > 0, motion[X], OUT_OF_SIGHT)
    rows = (x, motion[Y], motion[GROUND_X], motion[GROUND_Y], p.r.expand(x.shape))
    return Candidates(*(others(row) for row in rows))


def others(values: Tensor) -> Tensor:
    """For each robot the values of the other robots by index, [R - 1, R, E] from [R, E]."""
    index = torch.arange(values.shape[0], device=values.device)
    before = index[:-1, None] < index  # the k-th other robot is robot k for observers after it, else k + 1
    return torch.where(before[..., None], values[:-1, None], values[1:, None])


def look(o: Observer, c: Candidates, noise: ObjectNoise, p: RobotParams) -> Sight:
    """Perceive candidates, world-frame noise first, and test what is detected (environment spec 7.2).

    Quirk W15: only what is detected can collide, on its true position. |atan2(y, x)| ≤ angle/2 is
    x ≥ distance · cos(angle/2), with a slack of a few roundings: limits are included, and a full circle
    excludes nothing.
    """
    x, y = rotate(
        o.cos,
        o.minus_sin,
        c.x + p.pos_std * noise.position_x - o.x,
        c.y + p.pos_std * noise.position_y - o.y,
    )
    vx, vy = rotate(
        o.cos, o.minus_sin, c.vx + p.vel_std * noise.velocity_x, c.vy + p.vel_std * noise.velocity_y
    )
    radius = c.radius * (p.r_mean_ratio + (1 - p.r_mean_ratio) / torch.pi * noise.radius)
    distance = torch.sqrt(x * x + y * y)
    sector = torch.cos(p.angle.clamp(max=2 * torch.pi) / 2) - 4 * torch.finfo(x.dtype).eps
    detected = (distance <= o.range + radius) & (x >= distance * sector)
    gap = torch.where(detected, distance - radius - p.r, torch.inf)
    true_gap = torch.sqrt((c.x - o.x) ** 2 + (c.y - o.y) ** 2) - c.radius - p.r
    return Sight((x, y, vx, vy, radius), gap, torch.where(gap < torch.inf, true_gap, torch.inf))


def nearest(features: list[Tensor], gap: Tensor, p: RobotParams) -> tuple[list[tuple[Tensor, ...]], Tensor]:
    """At most `max_obj_num` detected objects of smallest gap, ascending (environment spec 7.3).

    From five features [K, R, E] and gaps (m), infinite where not detected: five rows of five features [R, E],
    zero beyond the objects found, and their number, int32 [R, E].
    """
    size, limit = len(gap), _top(gap)
    order = smallest(rank_keys(gap, p.range + p.r), min(OBJECT_ROWS, size))
    empty = gap.new_zeros(gap.shape[1:])
    rows, count = [], empty.int()
    for row in range(OBJECT_ROWS):
        if row >= len(order):
            rows.append((empty,) * len(features))
            continue
        found = (order[row] < limit) & (row < p.max_obj_num)
        picked = pick(features, order[row] & ((1 << _index_bits(size)) - 1))
        rows.append(tuple(torch.where(found, value, empty) for value in picked))
        count = count + found.int()
    return rows, count


def pick(features: list[Tensor], index: Tensor) -> list[Tensor]:
    """Features [K, R, E] of candidate `index` [R, E]; compiled by selection, which vectorises."""
    if not _unrolled(len(features[0])):
        place = index[None].long()
        return [feature.gather(0, place)[0] for feature in features]
    picked = [feature[0] for feature in features]
    for k in range(1, len(features[0])):
        here = index == k
        picked = [torch.where(here, new[k], old) for new, old in zip(features, picked, strict=True)]
    return picked


def rank_keys(gap: Tensor, span: Tensor) -> Tensor:
    """Gaps [K, R, E] (m) as integers with the candidate's index in their low bits: ties keep its order."""
    # Fixed point over ± range plus own radius: steps of 3e-7 m in 32 bits at the default range, of 3e-16 m in
    # 64. A detected object lies inside, unless its perceived radius exceeds the range; the others rank last.
    level = (gap * (1 / span)).clamp(-1, 1) * _levels(gap)
    level = torch.where(gap < torch.inf, level.to(_key_dtype(gap)), _top(gap) >> _index_bits(len(gap)))
    index = torch.arange(len(gap), dtype=level.dtype, device=gap.device)[:, None, None]
    return (level << _index_bits(len(gap))) | index


def smallest(keys: Tensor, count: int) -> list[Tensor]:
    """The `count` smallest of distinct integers along the first axis, ascending."""
    # Compiled, a network of exchanges, which fuses with its surroundings; eager, `topk`, which is one call.
    if not _unrolled(len(keys)):
        return list(keys.topk(count, dim=0, largest=False).values)
    values = list(keys.unbind(0))
    for row in range(count):
        for k in range(len(values) - 1, row, -1):
            low, high = torch.minimum(values[k - 1], values[k]), torch.maximum(values[k - 1], values[k])
            values[k - 1], values[k] = low, high
    return values[:count]


def _unrolled(size: int) -> bool:
    return torch.compiler.is_compiling() and size <= NETWORK_SIZE


def _key_dtype(gap: Tensor) -> torch.dtype:
    return torch.int32 if gap.dtype == torch.float32 else torch.int64


def _levels(gap: Tensor) -> int:
    """Level of a gap as wide as the span; exact in the dtype, and below the top after rounding."""
    top = _top(gap) >> _index_bits(len(gap))
    return top - top // 2**20


def _top(gap: Tensor) -> int:
    bits = torch.iinfo(_key_dtype(gap)).bits - 2 - _index_bits(len(gap))
    return (1 << bits) << _index_bits(len(gap))


def _index_bits(size: int) -> int:
    return max(size - 1, 0).bit_length()
