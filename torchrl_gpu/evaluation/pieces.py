"""The compiled step of the tensor world for batches of any size: in pieces of one size, compiled once."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.contract.constants import CONTINUOUS_THRUST_RATE
from marinenav_env.envs.torchrl_gpu.compilation import Compiled, compile_whole
from marinenav_env.envs.torchrl_gpu.ops.noise import NoiseKeys, Radii
from marinenav_env.envs.torchrl_gpu.ops.vessel import thrust_rates
from marinenav_env.envs.torchrl_gpu.state import WorldParams, WorldState
from marinenav_env.envs.torchrl_gpu.step import noisy_step
from marinenav_env.envs.torchrl_gpu.world import COMPILE

WIDTH = 256
"""Environments of a piece.

Larger ones are faster while all episodes run; but the last ones, which circle until time is over, take most
of the steps, and fill no piece.
"""


@cache
def _step_of(robots: int) -> Compiled:
    """For as many robots; a process compiles it once."""
    return compile_whole(noisy_step, f"the step of {WIDTH} worlds of {robots}", optional=True, **COMPILE)


def step_whole(
    keys: NoiseKeys, radii: Radii, state: WorldState, params: WorldParams, action: Tensor, **options: Any
) -> tuple[Tensor, ...]:
    """`noisy_step` as it is written."""
    return noisy_step(keys.next(), radii, state, params, action, **options)


def step_in_pieces(
    keys: NoiseKeys, radii: Radii, state: WorldState, params: WorldParams, action: Tensor, **options: Any
) -> tuple[Tensor, ...]:
    """`noisy_step` compiled; each piece has noise of its own.

    Discrete actions become commands, which give the same thrust, so that one graph serves both.
    """
    robots, size = state.active.shape
    if size == 1:  # it does not tell what all environments share
        return step_whole(keys, radii, state, params, action, **options)
    if not options["continuous"]:
        rates = thrust_rates(action, params.thrust_change, continuous=False)
        action = torch.stack(rates) / CONTINUOUS_THRUST_RATE
    step, options = _step_of(robots), {**options, "continuous": True}
    moved = []
    for first in range(0, size, WIDTH):
        piece = part((state, params, action), _chosen(first, size, action.device), size)
        moved.append(step(keys.next(), radii, *piece, **options))
    return tuple(torch.cat(leaves, -1)[..., :size] for leaves in zip(*moved, strict=True))


def part(tree: Any, chosen: Tensor | slice, size: int) -> Any:
    """Some of as many environments; what all of them share stays."""
    return tree_map(
        lambda leaf: leaf[..., chosen].contiguous() if leaf.shape[-1] == size else leaf,
        tree,
    )


def _chosen(first: int, size: int, device: torch.device) -> Tensor | slice:
    """A piece from the first one on; at the end it has the last environment again and again."""
    if first + WIDTH <= size:
        return slice(first, first + WIDTH)
    return torch.arange(first, first + WIDTH, device=device).clamp(max=size - 1)
