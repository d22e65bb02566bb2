"""One vector step, as the replay, the statistics and the reports take it."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Lap = Callable[[str], None]
"""Ends a part of a step, ``"act"`` or ``"step"``, for whoever times it."""


class Step(NamedTuple):
    """One step of E environments of R robots; where both are one axis, the robots of the first come first."""

    rows: Tensor  # transitions, see `torchrl_gpu.replay.rows`: float32 (E R, 77 or 78)
    acted: Tensor  # rows of robots that were in the water, the others are none: bool (E R,)
    ended: Tensor  # whose stream has ended, by a terminal or the cut-off: bool (E R,)
    reward: Tensor  # (E, R)
    outcome: Tensor  # `Outcome`, int8 (E, R)
    done: Tensor  # whether the episode of the environment has ended, bool (E,)
    stream: int = 0  # number of the collector that made it; the steps of each follow each other
    fresh: bool = False  # whether its environments have nothing to do with those of the step before
