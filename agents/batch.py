"""A batch of transitions as the losses read it, and the rows of numbers that it is split from."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from typing_extensions import Self

from marinenav_env.envs.contract.layout import OBJECT_ROWS, OBJECT_SIZE, OBSERVATION_PARTS, OBSERVATION_SIZE


class Observation(NamedTuple):
    """What N robots observe; the last two are `None` where it is known that no robot sees an object."""

    self_state: Tensor  # (N, 7)
    objects_state: Tensor | None  # (N, 5, 5); missing ones are zero rows
    objects_mask: Tensor | None  # which of them there are, (N, 5), bool or 0 and 1

    @classmethod
    def of(cls, columns: Tensor) -> Self:
        """From the columns (N, 37) of rows; nothing of it is a view into them."""
        own, objects, mask = columns.split(OBSERVATION_PARTS, dim=1)
        objects = objects.contiguous().unflatten(1, (OBJECT_ROWS, OBJECT_SIZE))
        return cls(own.contiguous(), objects, mask != 0)

    def without_empty_objects(self) -> Self:
        """The same, with `None` for the objects if there are none (Quirk A15); the host waits to look."""
        if self.objects_mask is None or self.objects_mask.any():
            return self
        return type(self)(self.self_state, None, None)


def row_size(continuous: bool) -> int:
    """Numbers of a row: observation, action (2 numbers or an index), reward, end flag, next observation."""
    return 2 * OBSERVATION_SIZE + (2 if continuous else 1) + 2


def split_rows(rows: Tensor) -> tuple[Tensor, ...]:
    """Observation, action, reward (..., 1), end flag (..., 1), next observation: the columns of rows."""
    width = rows.shape[-1] - 2 * OBSERVATION_SIZE - 2
    return rows.split((OBSERVATION_SIZE, width, 1, 1, OBSERVATION_SIZE), dim=-1)


class Batch(NamedTuple):
    """N transitions."""

    state: Observation
    action: Tensor  # (N, 2) float32, or (N, 1) int64
    reward: Tensor  # (N, 1) float32, the n-step return where n > 1
    not_done: Tensor  # (N, 1) float32, share of the next observation's value that is bootstrapped
    next_state: Observation  # what to bootstrap from, n steps on
    weight: Tensor | None = None  # importance weights (N,), or `None` when all are 1
    index: Tensor | None = None  # slots in the memory (N,), or `None` where no priorities need them

    @classmethod
    def of(
        cls, rows: Tensor, continuous: bool, index: Tensor | None = None, weight: Tensor | None = None
    ) -> Self:
        """From rows, float32 (N, `row_size`); nothing of the batch is a view into them."""
        state, action, reward, done, following = split_rows(rows)
        return cls(
            Observation.of(state),
            action.contiguous() if continuous else action.long(),
            reward.contiguous(),
            1 - done,
            Observation.of(following),
            weight,
            index,
        )

    def without_empty_objects(self) -> Self:
        """See `Observation.without_empty_objects`."""
        return self._replace(
            state=self.state.without_empty_objects(), next_state=self.next_state.without_empty_objects()
        )


State = tuple[Sequence[float], Sequence[Sequence[float]]]
"""What one robot observes in plain numbers, as the legacy world gives it: 7, and up to 5 objects of 5."""
StateBatch = tuple[list, list, list]


def state_batch(
    states: Sequence[State], object_dimension: int = OBJECT_SIZE, max_object_num: int = OBJECT_ROWS
) -> StateBatch:
    """Stack B pairs (7 floats, 0..5 objects of 5 floats), padding with zero rows (agents spec 1.1).

    Gives nested lists: self states (B, 7), objects (B, 5, 5), masks (B, 5) of 1.0 and 0.0. If no state of the
    batch has an object the last two are empty lists (Quirk A15).
    """
    self_states = [state[0] for state in states]
    if not any(state[1] for state in states):
        return self_states, [], []
    objects, masks = [], []
    for _, observed in states:
        missing = max_object_num - len(observed)
        objects.append([*observed, *([0.0] * object_dimension for _ in range(missing))])
        masks.append([1.0] * len(observed) + [0.0] * missing)
    return self_states, objects, masks
