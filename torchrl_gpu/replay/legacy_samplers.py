"""TorchRL samplers that draw what the legacy memories draw, for reproduction mode."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchrl.data.replay_buffers.samplers import Sampler
from torchrl.data.replay_buffers.storages import Storage

from agents.legacy.rainbow_memory import PriorityTree


class LegacySampler(Sampler):
    """What the two have in common: nothing on disk, their state travels in ``state_dict``."""

    def dumps(self, path: Any) -> None:
        """Nothing to write."""

    def loads(self, path: Any) -> None:
        """Nothing to read."""


class LegacyUniformSampler(LegacySampler):
    """Draws what the legacy uniform memory draws: ``random.sample`` over the stored items, oldest first.

    Draws come from Python's global generator, without replacement (agents spec 8). They are mapped to slots
    of the ring, so that the same draw means the same transition after the ring has wrapped.
    """

    def __init__(self) -> None:
        self._empty()

    def extend(self, index: Tensor) -> None:
        """Remember where the ring goes on; called by the buffer with the slots just written."""
        self._next_slot = int(index[-1]) + 1

    add = extend

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots of ``batch_size`` distinct items, (B,) int64, in the order drawn."""
        stored = len(storage)
        oldest = self._next_slot % storage.max_size if stored == storage.max_size else 0
        drawn = random.sample(range(stored), batch_size)
        return torch.tensor(drawn).add_(oldest).remainder_(storage.max_size), {}

    def state_dict(self) -> dict[str, Any]:
        """Position of the ring."""
        return {"next_slot": self._next_slot}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._next_slot = state_dict["next_slot"]

    def _empty(self) -> None:
        self._next_slot = 0


class LegacyPrioritizedSampler(LegacySampler):
    """Draws, weighs and updates priorities as the legacy memory of Rainbow does (agents spec 9).

    One interleaved stream of all robots (Quirk A3), NumPy's global generator, float32 sums, the largest
    priority so far for new records.

    Args:
        capacity: Records of the ring, even.
        n: Records after the drawn one that belong to its window.
        priority_exponent: Power of the loss that becomes the priority.
        priority_weight: Power of the importance weights.
    """

    def __init__(self, capacity: int, n: int, priority_exponent: float, priority_weight: float) -> None:
        self.capacity = capacity
        self.n = n
        self.priority_exponent = priority_exponent
        self.priority_weight = priority_weight
        self._empty()

    def extend(self, index: Tensor) -> None:
        """Give the slots just written the largest priority so far."""
        for _ in range(index.numel()):
            self.tree.push(self.tree.max)

    add = extend

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots of windows, (B, n + 1) int64, with ``priority_weight`` (B,) float32."""
        priorities, slots, _ = self.tree.draw(batch_size, self.n)
        weights = self.tree.importance(priorities, self.priority_weight)
        windows = (slots[:, None] + np.arange(self.n + 1)) % self.capacity
        return torch.from_numpy(windows), {"priority_weight": torch.from_numpy(weights)}

    def update_priority(
        self, index: Tensor, priority: Tensor, *, storage: Storage | None = None
    ) -> dict[str, Any]:
        """Set the priorities of sampled slots (B,) from their losses (B,)."""
        leaves = index.cpu().numpy() + self.tree.tree_start
        self.tree.update(leaves, np.power(priority.cpu().numpy(), self.priority_exponent))
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The tree; its leaves determine every sum."""
        tree = self.tree
        return {
            "sum_tree": torch.from_numpy(tree.sum_tree),
            "index": tree.index,
            "full": tree.full,
            "max": float(tree.max),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        tree = self.tree
        tree.sum_tree[:] = state_dict["sum_tree"].cpu().numpy()
        tree.index, tree.full = int(state_dict["index"]), bool(state_dict["full"])
        tree.max = np.float32(state_dict["max"])

    def _empty(self) -> None:
        self.tree = PriorityTree(self.capacity)
