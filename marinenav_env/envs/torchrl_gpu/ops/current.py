"""Vortex field on tensors (environment spec 3)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.state import CORE_CLOCKWISE, CORE_GAMMA, CORE_X, CORE_Y

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Current (m/s) at the positions x and y (m)."""


def current_field(cores: Tensor, core_r: Tensor) -> Field:
    """The field of cores [4, C, E] of radius `core_r` [E]; without slots for any there is none to compute."""
    if cores.shape[1] == 0:
        return lambda x, y: (torch.zeros_like(x), torch.zeros_like(y))
    strength = core_strength(cores)
    return lambda x, y: current(x, y, cores, strength, core_r)


def core_strength(cores: Tensor) -> Tensor:
    """Signed circulation over 2π of each core (m²/s), [C, E]; zero where there is none."""
    # Quirk W2: `clockwise` is named for axes with x right and y up.
    return cores[CORE_GAMMA] * (2 * cores[CORE_CLOCKWISE] - 1) / (2 * math.pi)


def current(x: Tensor, y: Tensor, cores: Tensor, strength: Tensor, core_r: Tensor) -> tuple[Tensor, Tensor]:
    """Current (m/s) at world points x, y (m), all [R, E]: the plain superposition of all cores (Quirk W3)."""
    # Speed over distance is Γ/(2π r²) inside a core and Γ/(2π d²) outside, that is Γ/(2π max(d², r²)), so
    # that neither a root nor a case for the centre of a core (Quirk W4) is needed.
    north = x - cores[CORE_X][:, None]
    east = y - cores[CORE_Y][:, None]
    spin = strength[:, None] / (north * north + east * east).clamp(min=core_r * core_r)
    return (spin * east).sum(0), -(spin * north).sum(0)
