"""A batch of transitions as the losses read it, and the rows of numbers that it is split from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from typing_extensions import Self

from marinenav_env.envs.contract.layout import (
    OBJECT_ROWS,
    OBJECT_SIZE,
    OBSERVATION_FLAGS,
    OBSERVATION_KEYS,
    OBSERVATION_PARTS,
    OBSERVATION_SHAPES,
    OBSERVATION_SIZE,
)

Observation = NamedTuple("Observation", [(key, Tensor) for key in OBSERVATION_KEYS])
"""What N robots observe: own state (N, 7), objects (N, 5, 5) padded with zero rows, and a mask (N, 5).

The mask, true where a row is an object, is bool, or 0 and 1. Where it is known that no robot sees an object,
objects and mask are `None`.
"""


def split_observation(columns: Tensor) -> Observation:
    """From the columns (..., N, 37) of rows; nothing of it is a view into them."""
    parts = zip(OBSERVATION_SHAPES.items(), columns.split(OBSERVATION_PARTS, dim=-1), strict=True)
    return Observation(
        *(
            part != 0 if key in OBSERVATION_FLAGS else part.contiguous().unflatten(-1, shape)
            for (key, shape), part in parts
        )
    )


def without_empty_objects(observation: Observation) -> Observation:
    """The same, with `None` for the objects if there are none (Quirk A15); the host waits to look."""
    if observation.objects_mask is None or observation.objects_mask.any():
        return observation
    return observation._replace(objects_state=None, objects_mask=None)


def row_size(continuous: bool) -> int:
    """Numbers of a row: observation, action (2 numbers or an index), reward, end flag, next observation."""
    return 2 * OBSERVATION_SIZE + (2 if continuous else 1) + 2


def split_rows(rows: Tensor) -> tuple[Tensor, ...]:
    """Observation, action, reward (..., 1), end flag (..., 1), next observation: the columns of rows."""
    width = rows.shape[-1] - 2 * OBSERVATION_SIZE - 2
    return rows.split((OBSERVATION_SIZE, width, 1, 1, OBSERVATION_SIZE), dim=-1)


class Batch(NamedTuple):
    """N transitions, as a loss takes them."""

    state: Observation
    action: Tensor  # (N, 2) float32, or (N, 1) int64
    reward: Tensor  # (N, 1) float32, the n-step return where n > 1
    not_done: Tensor  # (N, 1) float32, factor of the bootstrapped value; 0 at an end
    next_state: Observation  # what to bootstrap from, n steps on
    weight: Tensor | None = None  # importance weights (N,), or `None` when all are 1
    index: Tensor | None = None  # slots in the memory (N,), or `None` where no priorities need them

    @classmethod
    def of(
        cls, rows: Tensor, continuous: bool, index: Tensor | None = None, weight: Tensor | None = None
    ) -> Self:
        """From rows, float32 (..., N, `row_size`); nothing of the batch is a view into them."""
        state, action, reward, done, following = split_rows(rows)
        return cls(
            split_observation(state),
            action.contiguous() if continuous else action.long(),
            reward.contiguous(),
            1 - done,
            split_observation(following),
            weight,
            index,
        )

    def without_empty_objects(self) -> Self:
        """See `without_empty_objects`."""
        return self._replace(
            state=without_empty_objects(self.state), next_state=without_empty_objects(self.next_state)
        )


State = Sequence[Any]
"""What one robot observes in plain numbers, as the legacy world gives it: 7, and up to 5 objects of 5."""
StateBatch = tuple[list, ...]
"""That of many: as the parts of an `Observation`, objects and masks empty where none has an object."""


def state_batch(
    states: Sequence[State], object_dimension: int = OBJECT_SIZE, max_object_num: int = OBJECT_ROWS
) -> StateBatch:
    """Stack B pairs (7 floats, 0..5 objects of 5 floats), padding with zero rows (agents spec 1.1).

    Gives nested lists: self states (B, 7), objects (B, 5, 5), masks (B, 5) of 1.0 and 0.0. If no state of the
    batch has an object the last two are empty lists (Quirk A15). Keys that the legacy layout lacks follow.
    """
    self_states, _, *further = zip(*states, strict=True)
    if not any(state[1] for state in states):
        return list(self_states), [], [], *map(list, further)
    objects, masks = [], []
    for _, observed, *_ in states:
        missing = max_object_num - len(observed)
        if missing < 0:
            raise ValueError(f"{len(observed)} objects observed; allowed are the {max_object_num} nearest")
        objects.append([*observed, *([0.0] * object_dimension for _ in range(missing))])
        masks.append([1.0] * len(observed) + [0.0] * missing)
    return list(self_states), objects, masks, *map(list, further)
