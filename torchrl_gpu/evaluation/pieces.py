"""The compiled step of the tensor world for batches of any size: in pieces of one size, compiled once."""

from collections.abc import Sequence
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
    moved = [
        step(keys.next(), radii, *_piece((state, params, action), first, size), **options)
        for first in range(0, size, WIDTH)
    ]
    return tuple(torch.cat(leaves, -1)[..., :size] for leaves in zip(*moved, strict=True))


def _piece(trees: Sequence[Any], first: int, size: int) -> Sequence[Any]:
    """Environments from the first one on; at the end the last one again and again."""
    chosen = None
    if first + WIDTH > size:
        chosen = torch.arange(first, first + WIDTH).clamp(max=size - 1)

    def cut(leaf: Tensor) -> Tensor:
        if leaf.shape[-1] != size:  # what all environments share
            return leaf
        if chosen is None:
            return leaf[..., first : first + WIDTH].contiguous()
        return leaf[..., chosen.to(leaf.device)]

    return tree_map(cut, trees)
