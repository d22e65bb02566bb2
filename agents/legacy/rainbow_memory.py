"""The legacy prioritised n-step memory of Rainbow (agents spec 9; Schaul et al. 2016).

One stream holds the records of all robots (Quirk A3): next states are not stored but read from the record n
slots later, whoever wrote it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.batch import Batch, Observation, State, StateBatch, state_batch
from marinenav_env.envs.contract.layout import OBSERVATION_KEYS, OBSERVATION_SHAPES

RECORD = np.dtype(
    [
        ("timestep", np.int32),
        *((key, np.float32, shape) for key, shape in OBSERVATION_SHAPES.items()),
        ("action", np.int32),
        ("reward", np.float32),
        ("nonterminal", np.bool_),
    ]
)
BLANK = np.zeros((), dtype=RECORD)
HISTORY = 1
MAX_ATTEMPTS = 10_000
"""Redraws of a batch before `PriorityTree.draw` gives up."""


class PriorityTree:
    """Priorities of a ring of records, in a sum tree.

    `sum_tree`, float32, holds inner nodes, then `size` leaves from `tree_start` on: node k is the sum of its
    children 2k + 1 and 2k + 2. `index` is the next slot to be written, `full` whether the ring has wrapped,
    `max` the largest priority ever stored, at least 1; it never decays.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.index = 0
        self.full = False
        self.tree_start = 2 ** (size - 1).bit_length() - 1
        self.sum_tree = np.zeros(self.tree_start + size, dtype=np.float32)
        self.max = 1

    def push(self, value: float) -> None:
        """Give the next slot a priority; IndexError at the last one of an odd `size`: no sibling."""
        node = self.index + self.tree_start
        self.sum_tree[node] = value
        while node > 0:
            node = (node - 1) // 2
            self.sum_tree[node] = self.sum_tree[2 * node + 1] + self.sum_tree[2 * node + 2]
        self.index = (self.index + 1) % self.size
        self.full = self.full or self.index == 0
        self.max = max(value, self.max)

    def update(self, leaves: np.ndarray, values: np.ndarray) -> None:
        """Set priorities of leaves; for a leaf named twice the last value holds."""
        self.sum_tree[leaves] = values
        nodes = leaves
        while nodes[0] > 0:
            nodes = np.unique((nodes - 1) // 2)
            self.sum_tree[nodes] = self.sum_tree[2 * nodes + 1] + self.sum_tree[2 * nodes + 2]
        self.max = max(np.max(values), self.max)

    def find(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Priorities, data slots and `sum_tree` indices under which cumulated priorities (float64) fall."""
        nodes = np.zeros(len(values), dtype=np.int64)
        while nodes[0] < self.tree_start:
            left = 2 * nodes + 1
            # The last inner node of an incomplete level may have no leaves: stay inside the array.
            left, right = np.minimum((left, left + 1), len(self.sum_tree) - 1)
            left_sums = self.sum_tree[left]
            go_right = values > left_sums
            values = values - np.where(go_right, left_sums, 0.0)
            nodes = np.where(go_right, right, left)
        return self.sum_tree[nodes], nodes - self.tree_start, nodes

    def total(self) -> np.float32:
        """Sum of all priorities."""
        return self.sum_tree[0]

    def num_elements(self) -> int:
        """Number of records; one too large before the ring has wrapped (Quirk A4)."""
        return self.size if self.full else self.index + 1

    def draw(
        self, batch_size: int, n: int, max_attempts: int = MAX_ATTEMPTS
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One record from each of `batch_size` equal segments of the total priority (NumPy's generator).

        Gives priorities (float32), data slots, and indices in `sum_tree`, (B,) each. Whole batches are
        redrawn until every record has its window of n more records and a priority. Quirk A7: the newest n
        records have no window. While their share of the total is larger than one segment the last segment can
        only name them, and the legacy code never returned; here it gives up with a RuntimeError.
        """
        segment = self.total() / batch_size
        starts = np.arange(batch_size) * segment
        for _ in range(max_attempts):
            found = self.find(np.random.uniform(0.0, segment, [batch_size]) + starts)
            priorities, slots, _ = found
            has_window = (self.index - slots) % self.size > n
            has_history = (slots - self.index) % self.size >= HISTORY
            if np.all(has_window & has_history & (priorities != 0)):
                return found
        raise RuntimeError(
            f"no valid batch in {max_attempts} attempts: of the {self.num_elements()} records stored the "
            f"newest {n} have no {n}-step window yet and fill one of the {batch_size} segments drawn from; "
            "begin learning later or use a smaller batch"
        )

    def importance(self, priorities: np.ndarray, exponent: float) -> np.ndarray:
        """Importance weights (C·P)^-exponent over their maximum, C the number of records; (B,) float32."""
        count = self.size if self.full else self.index
        weights = (count * (priorities / self.total())) ** -exponent
        return (weights / weights.max()).astype(np.float32)


class SegmentTree(PriorityTree):
    """The ring itself: records `data` with their priorities, slot i belonging to leaf `tree_start + i`."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.data = np.zeros(size, dtype=RECORD)

    def append(self, record: Any, value: float) -> None:
        """Write the next slot with priority `value`; raises as `push`."""
        self.data[self.index] = record
        self.push(value)

    def get(self, slots: np.ndarray) -> np.ndarray:
        """Records of slots, counted around the ring."""
        return self.data[slots % self.size]


class ReplayMemory:
    """Prioritised memory of one stream of records; its `capacity` is even.

    Quirk A6: the legacy memory had its own constants for n and the discount; here they are arguments with the
    legacy values as defaults. `priority_weight` is the exponent of the importance weights (β), never
    annealed, `priority_exponent` that on the losses (ω); `sample` redraws `max_attempts` times before it
    gives up.
    """

    def __init__(
        self,
        device: str | torch.device,
        capacity: int,
        n: int = 3,
        discount: float = 0.99,
        priority_weight: float = 0.4,
        priority_exponent: float = 0.5,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self.device = device
        self.capacity = capacity
        self.history = HISTORY
        self.n = n
        self.discount = discount
        self.priority_weight = priority_weight
        self.priority_exponent = priority_exponent
        self.max_attempts = max_attempts
        self.t = 0
        self.n_step_scaling = torch.tensor(
            [discount**k for k in range(n)], dtype=torch.float32, device=device
        )
        self.transitions = SegmentTree(capacity)

    def append(self, state: State, action: int, reward: float, terminal: bool) -> None:
        """Store a record with the largest priority so far; `t` counts records since the last terminal one."""
        parts = zip(OBSERVATION_KEYS, self.state_batch([state]), strict=True)
        observed = [part[0] if part else BLANK[key] for key, part in parts]
        record = (self.t, *observed, action, reward, not terminal)
        self.transitions.append(record, self.transitions.max)
        self.t = 0 if terminal else self.t + 1

    def state_batch(self, states: Sequence[State]) -> StateBatch:
        """See `agents.batch.state_batch`."""
        return state_batch(states)

    def store(self, state: State, action: int, reward: float, next_state: State, done: bool) -> None:
        """`append` with the arguments of `ReplayBuffer.store`; `next_state` is not needed."""
        self.append(state, action, reward, done)

    def size(self) -> int:
        """Number of records as the trainer counts them (Quirk A4)."""
        return self.transitions.num_elements()

    def sample(self, batch_size: int) -> Batch:
        """Draw in proportion to priority, see `PriorityTree.draw`; `index` are the leaves of the records."""
        priorities, slots, leaves = self.transitions.draw(batch_size, self.n, self.max_attempts)
        window = self._window(slots)
        first, last = window[:, 0], window[:, self.n]
        rewards = self._tensor(window["reward"][:, : self.n].copy())
        return Batch(
            state=self._observation(first),
            action=self._tensor(first["action"].astype(np.int64)).unsqueeze(1),
            reward=(rewards @ self.n_step_scaling).unsqueeze(1),
            # Quirk A6b: the flag is that of the record bootstrapped from, not of the last rewarded one.
            not_done=self._tensor(last["nonterminal"].astype(np.float32)).unsqueeze(1),
            next_state=self._observation(last),
            weight=self._tensor(self.transitions.importance(priorities, self.priority_weight)),
            index=torch.from_numpy(leaves),
        )

    def _window(self, slots: np.ndarray) -> np.ndarray:
        """Records slot .. slot + n, (B, n + 1); those after the end of the episode are blank."""
        window = self.transitions.get(slots[:, None] + np.arange(self.n + 1))
        starts_episode = window["timestep"] == 0
        # The first record is never blank; once an episode has begun anew, all that follows is.
        starts_episode[:, 0] = False
        window[np.logical_or.accumulate(starts_episode, axis=1)] = BLANK
        return window

    def _observation(self, records: np.ndarray) -> Observation:
        """Tensors, also when no record has an object."""
        return Observation(*(self._tensor(records[key].copy()) for key in OBSERVATION_KEYS))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=self.device)

    def update_priorities(self, leaves: np.ndarray, losses: np.ndarray) -> None:
        """Set priorities of sampled leaves to loss^ω."""
        self.transitions.update(leaves, np.power(losses, self.priority_exponent))
