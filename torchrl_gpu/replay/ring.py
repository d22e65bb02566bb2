"""A ring of transitions that the host never has to ask about: for replay on a GPU.

Which robots acted is known on the device only. Selecting their rows would make the host wait for their number
in every step; here all rows are written, those of robots that did not act into one slot that is never drawn,
and the ring's position is a tensor.
"""

from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data.replay_buffers.samplers import Sampler
from torchrl.data.replay_buffers.storages import Storage
from torchrl.data.replay_buffers.writers import TensorDictRoundRobinWriter

KEEP = "acted"
"""Entry of the rows, bool (N,): which of them are transitions."""


class DeviceRing:
    """Position and fill of the ring, int64 tensors of shape () on the device.

    Args:
        capacity: Transitions kept; the storage has one slot more, for the rows that are not kept.
        device: Of the storage.
    """

    def __init__(self, capacity: int, device: torch.device | str) -> None:
        self.capacity = capacity
        self.cursor = torch.zeros((), dtype=torch.int64, device=device)
        self.stored = torch.zeros((), dtype=torch.int64, device=device)

    def claim(self, keep: Tensor) -> Tensor:
        """Slots of rows (N,), int64: consecutive for those to keep, the spare slot for the others."""
        position = (self.cursor + keep.cumsum(0) - 1) % self.capacity
        kept = keep.sum()
        self.cursor.add_(kept).remainder_(self.capacity)
        self.stored.add_(kept).clamp_(max=self.capacity)
        return torch.where(keep, position, self.capacity)


class DeviceRingWriter(TensorDictRoundRobinWriter):
    """Writes the rows that `KEEP` marks into the next slots of a ring.

    Args:
        ring: Shared with the sampler.
    """

    def __init__(self, ring: DeviceRing) -> None:
        super().__init__()
        self.ring = ring

    def extend(self, data: TensorDictBase) -> Tensor:
        """Write rows (N,); returns their slots."""
        slots = self.ring.claim(data.pop(KEEP))
        self._storage.set(slots, data)
        self._write_count += len(slots)
        return slots


class DeviceRingSampler(Sampler):
    """Draws slots uniformly, with replacement, from the filled part of a ring.

    Args:
        ring: Shared with the writer.
    """

    def __init__(self, ring: DeviceRing) -> None:
        self.ring = ring

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots (B,) int64, on the ring's device."""
        uniform = torch.rand(batch_size, device=self.ring.stored.device, dtype=torch.float64)
        return (uniform * self.ring.stored).long(), {}

    def state_dict(self) -> dict[str, Any]:
        """The ring's position and fill."""
        return {"cursor": self.ring.cursor, "stored": self.ring.stored}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.ring.cursor.copy_(state_dict["cursor"])
        self.ring.stored.copy_(state_dict["stored"])

    def _empty(self) -> None:
        self.ring.cursor.zero_()
        self.ring.stored.zero_()

    def dumps(self, path: Any) -> None:
        """Nothing to write: the state travels in `state_dict`."""

    def loads(self, path: Any) -> None:
        """Nothing to read: the state travels in `state_dict`."""
