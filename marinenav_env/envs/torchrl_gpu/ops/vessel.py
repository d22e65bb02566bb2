"""Dynamics of a vessel with two thrusters, three degrees of freedom, on tensors (environment spec 6).

Body axes: forward, starboard, down; u surge, v sway (m/s), yaw rate in rad/s. All tensors are [R, E] or
broadcast to it.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import CONTINUOUS_THRUST_RATE
from marinenav_env.envs.torchrl_gpu.ops.current import Field
from marinenav_env.envs.torchrl_gpu.state import LEFT, RIGHT, RobotParams


class Inertia(NamedTuple):
    """Inverse of the mass matrix, rigid body and added mass."""

    surge: Tensor
    sway_sway: Tensor
    sway_yaw: Tensor
    yaw_sway: Tensor
    yaw_yaw: Tensor


def inverse_inertia(p: RobotParams) -> Inertia:
    """A⁻¹ of the balance A b' = ... (environment spec 6.4); surge is decoupled."""
    sway, yaw = p.m - p.yDotV, p.Izz - p.nDotR
    determinant = sway * yaw - p.yDotR * p.nDotV
    return Inertia(
        surge=1 / (p.m - p.xDotU),
        sway_sway=yaw / determinant,
        sway_yaw=p.yDotR / determinant,
        yaw_sway=p.nDotV / determinant,
        yaw_yaw=sway / determinant,
    )


def rotate(angle_cos: Tensor, angle_sin: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Body vector (a, b) in world axes; with the sine negated, world vector in body axes."""
    return angle_cos * a - angle_sin * b, angle_sin * a + angle_cos * b


def thrust_rates(action: Tensor, thrust_change: Tensor, continuous: bool) -> tuple[Tensor, Tensor]:
    """Left and right thrust rates (N/s) of an action (environment spec 6.3).

    Commands [2, R, E], nominally in [-1, 1], are not clipped; indices, int64 [R, E], pick from
    `thrust_change`, [2, 5, R, E] or [2, 5, 1, 1].
    """
    if continuous:
        return CONTINUOUS_THRUST_RATE * action[0], CONTINUOUS_THRUST_RATE * action[1]
    size = thrust_change.shape[1]
    left, right = thrust_change.expand(2, size, *action.shape)
    action = action.clamp(0, size * size - 1)  # others are refused once the host looks
    left_index = action.div(size, rounding_mode="floor")
    return left.gather(0, left_index[None])[0], right.gather(0, (action - size * left_index)[None])[0]


def is_no_action(action: Tensor, thrust_change: Tensor, continuous: bool) -> Tensor:
    """Where an action is invalid: a command that is not finite, or an index out of range; bool [R, E]."""
    if continuous:
        return action.sum(0) * 0 != 0  # half the calls of `isfinite`
    return (action < 0) | (action >= thrust_change.shape[1] ** 2)


def thrusts(
    left: Tensor, right: Tensor, rates: tuple[Tensor, Tensor], p: RobotParams
) -> tuple[Tensor, Tensor]:
    """New thrusts (N). Quirk W11: a whole step's change is applied at once, in the first sub-step."""
    duration = p.dt * p.N
    return (
        torch.minimum(torch.maximum(left + rates[0] * duration, p.min_thrust), p.max_thrust),
        torch.minimum(torch.maximum(right + rates[1] * duration, p.min_thrust), p.max_thrust),
    )


def propulsion(left: Tensor, right: Tensor, p: RobotParams) -> tuple[Tensor, Tensor, Tensor]:
    """Surge force, sway force (N) and yaw moment (N·m) of the two thrusters."""
    left_x, left_y = left * torch.cos(p.left_pos), left * torch.sin(p.left_pos)
    right_x, right_y = right * torch.cos(p.right_pos), right * torch.sin(p.right_pos)
    moment = (left_x - right_x) * p.width / 2 - (left_y + right_y) * p.length / 2
    return left_x + right_x, left_y + right_y, moment


def acceleration(
    water: tuple[Tensor, Tensor],
    ground: tuple[Tensor, Tensor],
    yaw: Tensor,
    force: tuple[Tensor, Tensor, Tensor],
    p: RobotParams,
    inertia: Inertia,
) -> tuple[Tensor, Tensor, Tensor]:
    """Acceleration in surge, sway (m/s²) and yaw (rad/s²), from body-frame velocities (m/s, rad/s).

    The rigid-body Coriolis terms take the velocity over ground, added mass and damping the velocity relative
    to the water, as the legacy model does.
    """
    u, v = water
    abs_u, abs_v, abs_yaw = u.abs(), v.abs(), yaw.abs()
    sway_momentum = p.yDotV * v + p.yDotR * yaw
    b1 = (p.m * ground[1] - sway_momentum) * yaw + (p.xU + p.xUU * abs_u) * u + force[0]
    b2 = (
        (p.xDotU * u - p.m * ground[0]) * yaw
        + (p.yV + p.yVV * abs_v + p.yRV * abs_yaw) * v
        + (p.yR + p.yVR * abs_v + p.yRR * abs_yaw) * yaw
        + force[1]
    )
    b3 = (
        (sway_momentum - p.xDotU * v) * u
        + (p.nV + p.nVV * abs_v + p.nRV * abs_yaw) * v
        + (p.nR + p.nVR * abs_v + p.nRR * abs_yaw) * yaw
        + force[2]
    )
    return (
        inertia.surge * b1,
        inertia.sway_sway * b2 + inertia.sway_yaw * b3,
        inertia.yaw_yaw * b3 + inertia.yaw_sway * b2,
    )


def wrap_to_two_pi(theta: Tensor) -> Tensor:
    """Angle in [0, 2π); a tiny negative one that rounds up to 2π becomes 0 (environment spec 2)."""
    wrapped = torch.remainder(theta, 2 * math.pi)
    return torch.where(wrapped < 2 * math.pi, wrapped, 0.0)


def advance(
    motion: Tensor, rates: tuple[Tensor, Tensor], field: Field, p: RobotParams, substeps: tuple[int, int]
) -> Tensor:
    """Motion [11, R, E] after one step of N sub-steps at thrust `rates` (N/s) (environment spec 6.1, 6.2).

    Robots with fewer sub-steps than the greatest stand still in the last ones. The velocity over ground is
    that of the last sub-step (Quirk W12). The yaw is wrapped once, at the end: between sub-steps only its
    sine and cosine matter.
    """
    x, y, theta, water_x, water_y, yaw, ground_x, ground_y, ground_yaw, left, right = motion.unbind(0)
    left, right = thrusts(left, right, rates, p)
    force = propulsion(left, right, p)
    inertia = inverse_inertia(p)
    for k in range(substeps[1]):
        current_x, current_y = field(x, y)
        velocity = water_x + current_x, water_y + current_y, yaw
        dt = p.dt
        if k >= substeps[0]:
            moving = k < p.N
            dt = torch.where(moving, dt, 0.0)
            velocity = tuple(
                torch.where(moving, new, old)
                for new, old in zip(velocity, (ground_x, ground_y, ground_yaw), strict=True)
            )
        ground_x, ground_y, ground_yaw = velocity
        x, y, theta = x + ground_x * dt, y + ground_y * dt, theta + yaw * dt
        cos, sin = torch.cos(theta), torch.sin(theta)
        minus_sin = -sin
        u, v = rotate(cos, minus_sin, water_x, water_y)
        ground = rotate(cos, minus_sin, ground_x, ground_y)
        du, dv, dyaw = acceleration((u, v), ground, yaw, force, p, inertia)
        water_x, water_y = rotate(cos, sin, u + du * dt, v + dv * dt)
        yaw = yaw + dyaw * dt
    # in the order of the rows of ``motion``
    new = (x, y, wrap_to_two_pi(theta), water_x, water_y, yaw, ground_x, ground_y, ground_yaw, left, right)
    return torch.stack(torch.broadcast_tensors(*new))


def step_energy(motion: Tensor, p: RobotParams) -> Tensor:
    """Energy measure of the step just made (N·s), [R, E]: (|T_l| + |T_r|) · power_coefficient · dt · N."""
    return p.power_coefficient * (motion[LEFT].abs() + motion[RIGHT].abs()) * p.dt * p.N
