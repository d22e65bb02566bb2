"""What each robot perceives, on tensors (environment spec 7): noise, detection, nearest five, collision."""

from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.colregs_ops import Objects, starboard_turn
from marinenav_env.envs.torchrl_gpu.noise_ops import Noise
from marinenav_env.envs.torchrl_gpu.specs import OBJECT_ROWS
from marinenav_env.envs.torchrl_gpu.vessel_ops import rotate
from marinenav_env.envs.torchrl_gpu.world_state import (
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


class Perception(NamedTuple):
    """Result of one perception of all robots.

    Attributes:
        observation: what they see.
        collision: bool [R, E], sticky.
        reach_goal: bool [R, E], sticky.
        apply_colregs: bool [R, E].
        phi: turn to starboard still needed (rad), [R, E].
    """

    observation: Observation
    collision: Tensor
    reach_goal: Tensor
    apply_colregs: Tensor
    phi: Tensor


class Candidates(NamedTuple):
    """True state of all that a robot might see, world frame, [K, R, E]: obstacles, then the other robots."""

    x: Tensor
    y: Tensor
    vx: Tensor
    vy: Tensor
    radius: Tensor
    present: Tensor


def num_candidates(state: WorldState) -> int:
    """Candidates K of each robot: all obstacles and all other robots."""
    return state.scenario.obstacles.shape[1] + state.active.shape[0] - 1


def perceive(state: WorldState, p: RobotParams, noise: Noise) -> Perception:
    """Perception of all robots in the water; the others keep their flags and see nothing.

    Args:
        state: after the motion.
        p: constants of the robots.
        noise: K as in `num_candidates`.
    """
    motion, active = state.motion, state.active
    cos, sin = torch.cos(motion[THETA]), torch.sin(motion[THETA])
    velocity = rotate(cos, -sin, motion[GROUND_X], motion[GROUND_Y])
    goal_x, goal_y = state.scenario.goal[0] - motion[X], state.scenario.goal[1] - motion[Y]
    reach_goal = torch.sqrt(goal_x**2 + goal_y**2) <= p.goal_dis
    goal = rotate(cos, -sin, goal_x, goal_y)
    self_state = torch.stack((*goal, *velocity, motion[GROUND_YAW], motion[LEFT], motion[RIGHT]))

    candidates = all_candidates(state, p)
    objects = observe(candidates, motion, cos, sin, p, noise)
    distance = torch.sqrt(objects.x**2 + objects.y**2)
    detected = detect(objects, distance, p) & candidates.present & active
    # Quirk Q15: only what was detected is tested, on its true position
    collision = (detected & touches(candidates, motion, p)).any(0)

    rows, valid = nearest(objects, detected, distance - objects.radius - p.r, p)
    apply_colregs, phi = starboard_turn(Objects(*rows.unbind(1)), valid, velocity, p.r)
    return Perception(
        observation=Observation(torch.where(active, self_state, 0.0), rows, valid),
        collision=state.collision | collision,
        reach_goal=state.reach_goal | (reach_goal & active),
        apply_colregs=apply_colregs,
        phi=phi,
    )


def all_candidates(state: WorldState, p: RobotParams) -> Candidates:
    """Obstacles, then robots by index without the observer: the legacy order, which breaks ties."""
    robots = state.active.shape
    size = state.scenario.obstacles.shape[1]
    x, y, radius = (row[:, None].expand(size, *robots) for row in state.scenario.obstacles)
    exists = present(state.scenario.counts[OBSTACLES], size)[:, None].expand(size, *robots)
    still = torch.zeros_like(x)
    motion = state.motion
    return Candidates(
        x=torch.cat((x, others(motion[X]))),
        y=torch.cat((y, others(motion[Y]))),
        vx=torch.cat((still, others(motion[GROUND_X]))),
        vy=torch.cat((still, others(motion[GROUND_Y]))),
        radius=torch.cat((radius, others(p.r.expand(robots)))),
        present=torch.cat((exists, others(state.active))),
    )


def others(values: Tensor) -> Tensor:
    """For each robot the values of the other robots by index, [R - 1, R, E] from [R, E]."""
    index = torch.arange(values.shape[0], device=values.device)
    before = index[:-1, None] < index  # the k-th other robot is robot k for observers after it, else k + 1
    return torch.where(before[..., None], values[:-1, None], values[1:, None])


def observe(c: Candidates, motion: Tensor, cos: Tensor, sin: Tensor, p: RobotParams, noise: Noise) -> Objects:
    """Candidates as the sensors give them, in the observer's body frame (environment spec 7.2)."""
    north = c.x + p.pos_std * noise.position_x - motion[X]
    east = c.y + p.pos_std * noise.position_y - motion[Y]
    position = rotate(cos, -sin, north, east)
    velocity = rotate(cos, -sin, c.vx + p.vel_std * noise.velocity_x, c.vy + p.vel_std * noise.velocity_y)
    radius = c.radius * (p.r_mean_ratio + (1 - p.r_mean_ratio) / torch.pi * noise.radius)
    return Objects(*position, *velocity, radius)


def detect(objects: Objects, distance: Tensor, p: RobotParams) -> Tensor:
    """Whether the perceived position is within range and sector, limits included.

    |atan2(y, x)| ≤ angle/2 is x ≥ distance · cos(angle/2); a full circle excludes nothing.
    """
    limit = torch.where(p.angle < 2 * torch.pi, torch.cos(p.angle / 2), -2.0)
    return (distance <= p.range + objects.radius) & (objects.x >= distance * limit)


def touches(c: Candidates, motion: Tensor, p: RobotParams) -> Tensor:
    """Whether the true discs of robot and candidate touch."""
    north, east = c.x - motion[X], c.y - motion[Y]
    return torch.sqrt(north * north + east * east) - c.radius - p.r <= 0


def nearest(objects: Objects, detected: Tensor, key: Tensor, p: RobotParams) -> tuple[Tensor, Tensor]:
    """The detected objects of smallest key, at most `max_obj_num`, in ascending order (environment spec 7.3).

    Args:
        objects: [K, R, E].
        detected: bool [K, R, E].
        key: distance between the discs (m), [K, R, E].
        p: constants of the robots.

    Returns:
        Rows [5, 5, R, E] (row, feature), zero where there is no object, and which rows are objects.
    """
    found = min(OBJECT_ROWS, key.shape[0])
    order = smallest(rank_keys(key, detected, p.range + p.r), found)
    index = order & _index_mask(key.shape[0])
    row = torch.arange(found, device=key.device)[:, None, None]
    valid = (row < detected.sum(0)) & (row < p.max_obj_num)
    features = [torch.where(valid, feature.gather(0, index.long()), 0.0) for feature in objects]
    rows = torch.stack(features, 1)
    missing = OBJECT_ROWS - found
    return (
        torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, 0, 0, missing)),
        torch.nn.functional.pad(valid, (0, 0, 0, 0, 0, missing)),
    )


def rank_keys(key: Tensor, detected: Tensor, span: Tensor) -> Tensor:
    """Keys as integers that carry the candidate's index in their low bits, so that ties keep its order.

    Fixed point over [-span, span]: steps of 3e-7 m in 32 bits at the default range, of 3e-16 m in 64. A
    detected object's key lies inside unless its perceived radius exceeds the range.

    Args:
        key: [K, R, E] (m).
        detected: the others rank last.
        span: range plus own radius (m).
    """
    integer, bits = (torch.int32, 31) if key.dtype == torch.float32 else (torch.int64, 63)
    top = 2 ** (bits - 1 - _index_bits(key.shape[0]))
    level = (key / span).clamp(-1, 1) * (top - top // 2**23)  # below top also after rounding
    level = torch.where(detected, level.to(integer), top - 1)
    index = torch.arange(key.shape[0], dtype=integer, device=key.device)[:, None, None]
    return (level << _index_bits(key.shape[0])) | index


def smallest(keys: Tensor, count: int) -> Tensor:
    """The `count` smallest of distinct integers along the first axis, ascending, [count, R, E].

    Compiled, a network of exchanges, which fuses with its surroundings; eager, `topk`, which is one call.
    """
    if not torch.compiler.is_compiling():
        return keys.topk(count, dim=0, largest=False).values
    values = list(keys.unbind(0))
    for row in range(count):
        for k in range(len(values) - 1, row, -1):
            low, high = torch.minimum(values[k - 1], values[k]), torch.maximum(values[k - 1], values[k])
            values[k - 1], values[k] = low, high
    return torch.stack(values[:count])


def _index_bits(size: int) -> int:
    return max(size - 1, 0).bit_length()


def _index_mask(size: int) -> int:
    return (1 << _index_bits(size)) - 1
