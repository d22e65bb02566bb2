"""TorchRL samplers: which slots of the replay a batch is made of, and what its samples weigh."""

import random
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchrl.data.replay_buffers.samplers import Sampler
from torchrl.data.replay_buffers.storages import Storage

from agents.settings import Section, key
from torchrl_gpu.replay.priority_tree import PriorityTree
from torchrl_gpu.replay.ring import Ring

LEAST_LOSS = 1e-8
"""Added to a loss before it becomes a priority, so that no transition is lost."""

HISTORY = 1
"""Records up to the drawn one that the legacy memory asks for."""
MAX_ATTEMPTS = 10_000
"""Redraws of a batch before `LegacyPrioritizedSampler` gives up."""


class PrioritySettings(Section):
    """Keys of the samplers that draw by priority."""

    priority_exponent: float = key(
        0.5, "prioritised replay: priority is the loss to this power", legacy=False, ge=0, le=1
    )
    priority_weight: float = key(
        0.4, "prioritised replay: importance weights are corrected to this power", legacy=False, ge=0, le=1
    )


class RowSampler(Sampler):
    """What the samplers have in common: nothing on disk, their state travels in ``state_dict``."""

    prioritized: ClassVar[bool] = False  # losses become priorities; gives ``priority_weight``

    def state_dict(self) -> dict[str, Any]:
        """Nothing, unless a sampler says otherwise."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""

    def _empty(self) -> None:
        """Forget everything."""

    def dumps(self, path: Any) -> None:
        """Nothing to write."""

    def loads(self, path: Any) -> None:
        """Nothing to read."""


class UniformSampler(RowSampler):
    """Draws uniformly, with replacement, from the slots that a ring has in use."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots (B,) int64."""
        return self.ring.random_slots(batch_size), {}


class PrioritizedSampler(RowSampler):
    """Draws in proportion to priorities, losses to a power (Schaul et al. 2016, proportional variant).

    New transitions have the largest priority so far. The numbers are those of TorchRL's sampler, on a CPU
    also the draws, from NumPy's global generator; its sums are of float32 and cannot tell the last of
    millions of priorities apart. One slot beyond the capacity is allowed, which is never drawn.
    """

    prioritized = True

    def __init__(self, capacity: int, settings: PrioritySettings, device: torch.device | str = "cpu") -> None:
        self.capacity = capacity
        self.settings = settings
        self.tree = PriorityTree(capacity + 1, device)
        self.largest = torch.ones((), device=device)  # loss so far

    def extend(self, index: Tensor) -> None:
        """Give the slots just written, one after the other around the ring, the largest priority so far."""
        index = index.to(self.largest.device)
        self.tree.set_run(index, torch.where(index < self.capacity, self._priority(self.largest), 0.0))

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots (B,) int64, with ``priority_weight`` (B,): importance weights, the largest of all slots 1."""
        slots = self.tree.find(self._uniform(batch_size) * self.tree.total)
        relative = self.tree[slots].float() / self.tree.smallest.float()
        return slots, {"priority_weight": relative.pow_(-self.settings.priority_weight)}

    def update_priority(self, index: Tensor, priority: Tensor, *, storage: Storage | None = None) -> None:
        """Take the losses (B,) of sampled slots (B,); for a slot drawn twice the last one counts."""
        index, loss = index.to(self.largest.device), priority.to(self.largest.device)
        self.largest = torch.maximum(self.largest, loss.amax())
        self.tree.set(index, self._priority(loss))

    def state_dict(self) -> dict[str, Any]:
        """The priorities, and the largest loss so far."""
        return {**self.tree.state_dict(), "largest": self.largest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.tree.load_state_dict(state_dict)
        self.largest.copy_(state_dict["largest"])

    def _priority(self, loss: Tensor) -> Tensor:
        return (loss + LEAST_LOSS).pow(self.settings.priority_exponent)

    def _uniform(self, count: int) -> Tensor:
        if self.largest.device.type == "cpu":
            return torch.from_numpy(np.random.random_sample(count))
        return torch.rand(count, device=self.largest.device, dtype=torch.float64)


class LegacyUniformSampler(RowSampler):
    """Draws what the legacy uniform memory draws: ``random.sample`` over the stored items, oldest first.

    Draws come from Python's global generator, without replacement (agents spec 8). They are mapped to slots
    of the ring, so that the same draw means the same transition after the ring has wrapped.
    """

    def __init__(self) -> None:
        self._next_slot = 0

    def extend(self, index: Tensor) -> None:
        """Remember where the ring goes on; called by the buffer with the slots just written."""
        self._next_slot = int(index[-1]) + 1

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


class LegacyPrioritizedSampler(RowSampler):
    """Draws, weighs and updates priorities as the legacy memory of Rainbow does (agents spec 9).

    One interleaved stream of all robots (Quirk A3), NumPy's global generator, float32 sums, the largest
    priority so far for new records, of which the ring holds an even number.
    """

    prioritized = True

    def __init__(self, capacity: int, n: int, settings: PrioritySettings) -> None:
        self.capacity = capacity
        self.n = n  # records after the drawn one that belong to its window
        self.settings = settings
        self.tree = PriorityTree(capacity, fanout=2, root=2, dtype=torch.float32, strays=True)
        self._next_slot, self._full, self._largest = 0, False, 1.0

    def extend(self, index: Tensor) -> None:
        """Give the slots just written the largest priority so far."""
        self.tree.set_run(index, torch.full((len(index),), self._largest))
        self._full = self._full or self._next_slot + len(index) >= self.capacity
        self._next_slot = (self._next_slot + len(index)) % self.capacity

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots of windows, (B, n + 1) int64, with ``priority_weight`` (B,) float32.

        One record from each of B equal segments of the total priority. Whole batches are redrawn until every
        record has its window of n more records and a priority. Quirk A7: the newest n records have no window.
        While their share of the total is larger than one segment the last segment can only name them, and the
        legacy code never returned; here it gives up with a RuntimeError.
        """
        total = self.tree.total.numpy()[()]
        segment = total / batch_size
        starts = np.arange(batch_size) * segment
        for _ in range(MAX_ATTEMPTS):
            slots = self.tree.find(torch.from_numpy(np.random.uniform(0.0, segment, batch_size) + starts))
            priorities = self.tree[slots].numpy()
            has_window = (self._next_slot - slots) % self.capacity > self.n
            has_history = (slots - self._next_slot) % self.capacity >= HISTORY
            if (has_window & has_history).all() and priorities.all():
                windows = (slots[:, None] + torch.arange(self.n + 1)) % self.capacity
                return windows, {"priority_weight": self._importance(priorities / total)}
        raise RuntimeError(
            f"no valid batch in {MAX_ATTEMPTS} attempts: of the {len(storage)} records stored the newest "
            f"{self.n} have no {self.n}-step window yet and fill one of the {batch_size} segments drawn "
            "from; begin learning later or use a smaller batch"
        )

    def update_priority(self, index: Tensor, priority: Tensor, *, storage: Storage | None = None) -> None:
        """Set the priorities of sampled slots (B,) from their losses (B,)."""
        values = np.power(priority.cpu().numpy(), self.settings.priority_exponent)
        self.tree.set(index.cpu(), torch.from_numpy(values))
        self._largest = max(float(values.max()), self._largest)

    def state_dict(self) -> dict[str, Any]:
        """The priorities, and where the ring stands."""
        return {
            **self.tree.state_dict(),
            "next_slot": self._next_slot,
            "full": self._full,
            "largest": self._largest,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.tree.load_state_dict(state_dict)
        self._next_slot, self._full = state_dict["next_slot"], state_dict["full"]
        self._largest = state_dict["largest"]

    def _importance(self, probabilities: np.ndarray) -> Tensor:
        """Weights (C P)^-exponent over their maximum, C the number of records; (B,) float32."""
        count = self.capacity if self._full else self._next_slot
        weights = (count * probabilities) ** -self.settings.priority_weight
        return torch.from_numpy((weights / weights.max()).astype(np.float32))
