"""Storage and writer of a replay whose one entry is a matrix of rows.

They do what `LazyTensorStorage` and `TensorDictRoundRobinWriter` do, without walking through nested entries
of any kind: a small batch is written and drawn in half the time.
"""

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage
from torchrl.data.replay_buffers.writers import TensorDictRoundRobinWriter

ROW = "row"
"""The entry: transitions, one row each (see `torchrl_gpu.replay.rows`)."""


class RowStorage(LazyTensorStorage):
    """`LazyTensorStorage` of the entry `ROW`, float32 (capacity, columns)."""

    def set(self, cursor: Any, data: TensorDictBase, *, set_cursor: bool = True) -> None:
        """Write ``data[ROW]`` (N, columns) to the slots ``cursor`` (N,)."""
        if not self.initialized or not isinstance(cursor, Tensor):
            super().set(cursor, data, set_cursor=set_cursor)
            return
        if set_cursor:
            self._get_new_len(data, cursor)
        rows = self._storage.get(ROW)
        rows.index_copy_(0, cursor.to(rows.device), data.get(ROW).to(rows.device))
        self._bump_mutation_revision()

    def _set_last_cursor(self, cursor: Any) -> None:
        """Note nothing: samplers of trajectories alone ask, and to note it makes the host wait for a GPU."""

    def get(self, index: Any) -> TensorDictBase:
        """Rows of slots of any shape."""
        if not self.initialized or not isinstance(index, Tensor) or index.dtype != torch.int64:
            return super().get(index)
        rows = self._storage.get(ROW)
        drawn = rows.index_select(0, index.flatten().to(rows.device)).unflatten(0, index.shape)
        return TensorDict({ROW: drawn}, index.shape)


class RowWriter(TensorDictRoundRobinWriter):
    """Round robin that does not store the slot of a row with it: samplers know it."""

    def extend(self, data: TensorDictBase) -> Tensor:
        """Write rows (N,) to the next slots of the ring; returns them."""
        capacity, first = self._storage.max_size, self._cursor
        slots = torch.arange(first, first + len(data)).remainder_(capacity)
        self._cursor = (first + len(data)) % capacity
        self._write_count += len(data)
        self._storage.set(slots, data)
        self._mark_update_entities(slots)
        return slots
