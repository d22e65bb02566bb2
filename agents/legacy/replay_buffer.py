"""The legacy uniform memory (agents spec 8)."""

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from agents.batch import State, StateBatch, state_batch


class ReplayBuffer:
    """Ring of transitions `(state, action, reward, next_state, done)`, sampled uniformly without replacement.

    Quirk A2: the constructor reseeds Python's global generator with `seed`, so that exploration and sampling
    do not depend on the agent's seed. `memory` holds the oldest first; `seed` is `None`, what `random.seed`
    returns.
    """

    def __init__(
        self, buffer_size: int, batch_size: int, obj_len: int, max_object_num: int, seed: int = 249
    ) -> None:
        self.memory: deque = deque(maxlen=buffer_size)
        self.batch_size = batch_size
        self.obj_len = obj_len
        self.max_object_num = max_object_num
        self.seed = random.seed(seed)

    def add(self, item: tuple[State, Any, float, State, bool]) -> None:
        """Store a transition as it is; the oldest falls out of a full memory."""
        state, action, reward, next_state, done = item
        self.memory.append((state, action, reward, next_state, done))

    def store(self, state: State, action: Any, reward: float, next_state: State, done: bool) -> None:
        """`add` with one argument a part."""
        self.add((state, action, reward, next_state, done))

    def sample(self) -> tuple[StateBatch, list, list, StateBatch, list]:
        """Stacked states, actions, rewards, stacked next states, dones, in the order of `random.sample`."""
        items = random.sample(self.memory, k=self.batch_size)
        states, actions, rewards, next_states, dones = map(list, zip(*items, strict=True))
        return self.state_batch(states), actions, rewards, self.state_batch(next_states), dones

    def state_batch(self, states: Sequence[State]) -> StateBatch:
        """See `agents.batch.state_batch`."""
        return state_batch(states, self.obj_len, self.max_object_num)

    def size(self) -> int:
        """Number of stored transitions."""
        return len(self.memory)
