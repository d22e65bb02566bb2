"""One vector step, as the replay, the statistics and the reports take it."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Lap = Callable[[str], None]
"""Ends a part of a step, ``"act"`` or ``"step"``, for whoever times it."""


class Step(NamedTuple):
    """One step of E environments of R robots; where both are one axis, the robots of the first come first.

    Attributes:
        rows: A transition of every robot, see `torchrl_gpu.replay.rows`, float32 (E R, 77 or 78).
        acted: Which rows are transitions: whose robots were in the water, bool (E R,).
        ended: Whose stream has ended, by a terminal or the cut-off, bool (E R,).
        reward: Of every robot, (E, R).
        outcome: `Outcome` of every robot, int8 (E, R).
        done: Environments whose episode has ended, bool (E,).
    """

    rows: Tensor
    acted: Tensor
    ended: Tensor
    reward: Tensor
    outcome: Tensor
    done: Tensor
