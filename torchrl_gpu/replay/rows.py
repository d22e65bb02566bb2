"""A transition as one row of float32 numbers: what the replay memory stores and batches are made of.

One matrix is written and read in one piece, which for the small batches of the updates takes a tenth of the
time of nine tensors. Masks are 0 or 1; indices of actions are exact.

A row is: observation, action (2 numbers, or 1 index), reward, end flag, next observation; an observation is
self state (7), objects (5 x 5), mask (5). The end flag is the share of the next observation's value that is
not bootstrapped: 0 or 1, and less than 0 for n-step windows that the cut-off has made shorter than n.
"""

from itertools import chain
from typing import Any, NamedTuple, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor

from agents.batch import State
from marinenav_env.envs.contract.layout import (
    GROUP,
    OBJECT_ROWS,
    OBJECT_SIZE,
    OBSERVATION_KEYS,
)
from torchrl_gpu.learn.scale import ObservationScale

PADDING = [
    [0.0] * (OBJECT_ROWS - n) * OBJECT_SIZE + [1.0] * n + [0.0] * (OBJECT_ROWS - n)
    for n in range(OBJECT_ROWS + 1)
]
"""Columns that follow n objects: those that are missing, then the mask."""


class RobotRows(Protocol):
    """What a replay reads of a vector step of N robots, of all its environments."""

    @property
    def rows(self) -> Tensor:
        """Transitions, float32 (N, columns)."""

    @property
    def acted(self) -> Tensor:
        """Rows of robots that were in the water, the others are none: bool (N,)."""

    @property
    def ended(self) -> Tensor:
        """Whose stream has ended, by a terminal or the cut-off: bool (N,)."""


class StreamRows(RobotRows, Protocol):
    """What else there is where the steps of several collectors come in turn."""

    @property
    def stream(self) -> int:
        """Number of the collector."""

    @property
    def fresh(self) -> bool:
        """Whether its stream begins anew."""


class Draw(NamedTuple):
    """What a replay draws for one update."""

    rows: Tensor  # transitions, float32 (N, 77) or, with continuous actions, (N, 78)
    index: Tensor | None = None  # their slots, int64 (N,), where priorities need them
    weight: Tensor | None = None  # importance, float32 (N,); None: all are 1


def robot_rows(step: TensorDictBase, done: str = "done", scale: ObservationScale | None = None) -> Tensor:
    """One row for every robot of what ``env.step`` returned, batch ``[E]``, in (environment, robot) order.

    A robot's last transition is a row with its true next observation: it is deactivated afterwards. The flag
    ``done`` ends the return; ``"terminated"`` bootstraps where the cut-off came.
    """
    robots, after = step.get(GROUP), step.get(("next", GROUP))
    action = robots.get("action")
    columns = (
        *_observation_columns(robots, scale),
        action if action.ndim == 3 else action.unsqueeze(2),
        after.get("reward"),
        after.get(done),
        *_observation_columns(after, scale),
    )
    return torch.cat([each.float() for each in columns], dim=2).flatten(0, 1)


def _observation_columns(robots: TensorDictBase, scale: ObservationScale | None) -> list[Tensor]:
    values = {key: robots.get(key) for key in OBSERVATION_KEYS}
    return [(scale(key, each.float()) if scale else each).flatten(2) for key, each in values.items()]


def plain_row(state: State, action: Any, reward: float, following: State, done: bool) -> list[float]:
    """The row of a transition in the numbers of the legacy memory; float32 will round them once."""
    actions = action if isinstance(action, list) else [action]
    return [*_plain_columns(state), *actions, reward, done, *_plain_columns(following)]


def _plain_columns(state: State) -> list[float]:
    own, objects, *further = state
    return [*own, *chain.from_iterable(objects), *PADDING[len(objects)], *chain.from_iterable(further)]
