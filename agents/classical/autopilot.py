"""From a wanted velocity to thrust commands: what a classical planner needs below it, batched.

Computed torque: the forces that bring surge speed and yaw rate to their wanted values within a time constant,
on the model of the vessel (environment spec 6.4), see T. I. Fossen, "Handbook of Marine Craft Hydrodynamics
and Motion Control" (2011), chapter 12. The hull resists sideways motion little, so the bow points beyond the
wanted course while the vessel still drifts.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import CONTINUOUS_THRUST_RATE, THRUST_CHANGES
from marinenav_env.envs.reference.vessel import Vessel, steady_surge

TOP_SPEED = steady_surge(2 * Vessel.max_thrust)
"""Steady surge speed at full thrust (m/s)."""
STEP = Vessel.dt * Vessel.N
"""Duration of an action (s)."""
LEVELS = torch.tensor(THRUST_CHANGES) / CONTINUOUS_THRUST_RATE
"""Commands of the discrete actions, in their order."""


class Tuning(NamedTuple):
    """Constants of the autopilot."""

    drift: float = 0.6  # of the velocity error added to the wanted velocity for the bow's direction
    turn: float = 1.2  # wanted yaw rate per radian of the bow's error (1/s)
    turn_time: float = 0.7  # in which the yaw rate follows (s)
    speed_time: float = 1.0  # in which the surge speed follows (s)
    least_turn: float = 350.0  # thrust a side that is always there to turn (N)


def thrust_commands(own: Tensor, wanted: Tensor, tuning: Tuning) -> Tensor:
    """Continuous commands in [-1, 1] for left and right, (N, 2).

    ``own`` holds the vessels' own states (N, 7), ``wanted`` velocities over ground in the body frame (N, 2)
    (m/s).
    """
    surge, sway, yaw, left, right = own[:, 2:].unbind(1)
    bow = wanted + tuning.drift * (wanted - own[:, 2:4])
    error = torch.atan2(bow[:, 1], bow[:, 0])
    moment = _moment(error, yaw, tuning)
    force = _resistance(wanted[:, 0], -Vessel.xU, -Vessel.xUU) - Vessel.m * sway * yaw
    force = force + (Vessel.m - Vessel.xDotU) * (wanted[:, 0] - surge) / tuning.speed_time
    thrusts = _thrusts(force, moment, tuning.least_turn)
    change = (thrusts - torch.stack((left, right), 1)) / (CONTINUOUS_THRUST_RATE * STEP)
    return change.clamp(-1, 1)


def nearest_actions(commands: Tensor) -> Tensor:
    """The discrete actions nearest to continuous commands (N, 2), int64 (N,)."""
    left, right = (commands[..., None] - LEVELS.to(commands)).abs().argmin(-1).unbind(-1)
    return left * len(LEVELS) + right


def _moment(error: Tensor, yaw: Tensor, tuning: Tuning) -> Tensor:
    """Yaw moment (N m) that turns the bow by ``error`` (rad)."""
    rate = tuning.turn * error
    inertia = Vessel.Izz - Vessel.nDotR
    return _resistance(rate, -Vessel.nR, -Vessel.nRR) + inertia * (rate - yaw) / tuning.turn_time


def _resistance(speed: Tensor, linear: float, square: float) -> Tensor:
    return (linear + square * speed.abs()) * speed


def _thrusts(force: Tensor, moment: Tensor, least: float) -> Tensor:
    """Left and right thrust (N), (N, 2).

    Astern a thruster gives half of what it gives ahead: a full turn would push the vessel forward. So the
    moment gets what leaves the force as it is, and ``least`` (N) a side in any case.
    """
    low, high = Vessel.min_thrust, Vessel.max_thrust
    mean = (force / 2).clamp(low, high)
    room = torch.minimum(high - mean, mean - low).clamp(min=least)
    half = torch.maximum(torch.minimum(moment / Vessel.width, room), -room)
    mean = torch.maximum(torch.minimum(mean, high - half.abs()), low + half.abs())
    return torch.stack((mean + half, mean - half), 1)
