"""Which slots of the replay are written next, and which are in use.

On a GPU only the device knows which robots acted. Selecting their rows would make the host wait for their
number in every step; there all rows are written, those of robots that did not act into one slot that is never
drawn, and the ring's position is a tensor.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data.replay_buffers.storages import Storage
from torchrl.data.replay_buffers.writers import Writer

ROW = "row"
"""Entry of the rows: transitions, see `torchrl_gpu.replay.rows`."""
KEEP = "acted"
"""Entry of the rows, bool (N,): which of them are transitions."""


class Ring(Writer):
    """A TorchRL writer that gives every transition the next slot, around the capacity."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = self.slots = capacity  # transitions kept; slots of the storage

    def register_storage(self, storage: Storage) -> None:
        """Take the storage to write to; called by the buffer."""
        super().register_storage(storage)
        self.storage = storage

    @property
    @abstractmethod
    def stored(self) -> int:
        """Transitions stored."""

    @abstractmethod
    def entries(self, rows: Tensor, acted: Tensor) -> Iterator[TensorDictBase]:
        """What to extend the buffer with for rows (N, columns), of which ``acted`` (N,) are transitions."""

    @abstractmethod
    def random_slots(self, count: int) -> Tensor:
        """Slots in use, drawn uniformly with replacement, int64 (count,)."""

    def add(self, data: Any) -> int:
        """Refused: rows come many at a time."""
        raise NotImplementedError("rows are written by `extend`")

    def dumps(self, path: Any) -> None:
        """Nothing to write: the state travels in ``state_dict``."""

    def loads(self, path: Any) -> None:
        """Nothing to read: the state travels in ``state_dict``."""


class HostRing(Ring):
    """A ring whose position the host knows."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._empty()

    @property
    def stored(self) -> int:
        """See `Ring`."""
        return len(self.storage)

    def entries(self, rows: Tensor, acted: Tensor) -> Iterator[TensorDictBase]:
        """See `Ring`; transitions alone, and no slot twice in one write."""
        kept = rows if acted.all() else rows.index_select(0, acted.nonzero()[:, 0])
        for part in kept.to(self.storage.device).split(self.capacity):
            if len(part):
                yield TensorDict({ROW: part}, [len(part)])

    def random_slots(self, count: int) -> Tensor:
        """See `Ring`."""
        return torch.randint(self.stored, (count,), device=self.storage.device)

    def extend(self, data: TensorDictBase) -> Tensor:
        """Write rows (N,) to the next slots; returns these."""
        slots = torch.arange(self._cursor, self._cursor + len(data)).remainder_(self.capacity)
        self._cursor = (self._cursor + len(data)) % self.capacity
        self.storage.set(slots, data)
        return slots

    def state_dict(self) -> dict[str, Any]:
        """The next slot."""
        return {"cursor": self._cursor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._cursor = state_dict["cursor"]

    def _empty(self, empty_write_count: bool = True) -> None:
        self._cursor = 0


class DeviceRing(Ring):
    """A ring that the host never has to ask about; the storage has one slot more, for what is not kept.

    When more than ``enough`` transitions are stored the host stops asking how many there are.
    """

    def __init__(self, capacity: int, device: torch.device | str, enough: int) -> None:
        super().__init__(capacity)
        self.slots = capacity + 1
        self.enough = enough
        self.cursor, self.filled = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))
        self._known = 0

    @property
    def stored(self) -> int:
        """Transitions stored; once that is more than enough, as many as there were then."""
        if self._known <= self.enough:
            self._known = int(self.filled)
        return self._known

    def entries(self, rows: Tensor, acted: Tensor) -> Iterator[TensorDictBase]:
        """See `Ring`; all rows, as many at a time as there are slots."""
        parts = (each.to(self.cursor.device).split(self.capacity) for each in (rows, acted))
        for some, keep in zip(*parts, strict=True):
            yield TensorDict({ROW: some, KEEP: keep}, [len(some)])

    def random_slots(self, count: int) -> Tensor:
        """See `Ring`."""
        uniform = torch.rand(count, device=self.filled.device, dtype=torch.float64)
        return (uniform * self.filled).long()

    def extend(self, data: TensorDictBase) -> Tensor:
        """Write rows (N,), those that `KEEP` marks to the next slots; returns the slots of all."""
        keep = data.pop(KEEP)
        position = (self.cursor + keep.cumsum(0) - 1) % self.capacity
        kept = keep.sum()
        self.cursor.add_(kept).remainder_(self.capacity)
        self.filled.add_(kept).clamp_(max=self.capacity)
        slots = torch.where(keep, position, self.capacity)
        self.storage.set(slots, data)
        return slots

    def state_dict(self) -> dict[str, Any]:
        """Position and fill."""
        return {"cursor": self.cursor, "filled": self.filled}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._known = 0
        self.cursor.copy_(state_dict["cursor"])
        self.filled.copy_(state_dict["filled"])

    def _empty(self, empty_write_count: bool = True) -> None:
        self._known = 0
        self.cursor.zero_()
        self.filled.zero_()
