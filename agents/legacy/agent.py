"""The legacy agent: a learner with its memory, trained on what that draws."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.agent import Agent
from agents.batch import Batch, State
from agents.legacy.rainbow_memory import ReplayMemory
from agents.legacy.replay_buffer import ReplayBuffer


class LegacyAgent(Agent):
    """An `Agent` that stores transitions and learns from them.

    `memory` is a `ReplayBuffer`, for Rainbow a `ReplayMemory`; `None` without training.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.memory = self._make_memory() if self.training else None

    def _make_memory(self) -> ReplayBuffer | ReplayMemory:
        if self.learner.prioritized:
            steps = self.learner.settings.return_steps
            return ReplayMemory(self.device, self.BUFFER_SIZE, n=steps, discount=self.GAMMA)
        return ReplayBuffer(self.BUFFER_SIZE, self.BATCH_SIZE, self.object_dimension, self.max_object_num)

    @property
    def stored(self) -> int:
        """Number of stored records as the trainer counts them (Quirk A4 for Rainbow)."""
        return self.memory.size()

    def store(self, state: State, action: Any, reward: float, next_state: State, done: bool) -> None:
        """Put one transition into the memory."""
        self.memory.store(state, action, reward, next_state, done)

    def train(self) -> Any:
        """One gradient update on a batch of the memory; gives 0-d float32 arrays.

        The loss, or a tuple of losses in the order of the updates; for Rainbow the losses of the samples.
        """
        if self.learner.prioritized:
            batch = self.memory.sample(self.BATCH_SIZE)
            losses = self.learner.update(batch)["network"].cpu().numpy()
            self.memory.update_priorities(batch.index.numpy(), losses)
            return losses
        losses = self.learner.update(self._uniform_batch())
        arrays = tuple(loss.cpu().numpy() for loss in losses.values())
        return arrays if len(arrays) > 1 else arrays[0]

    def _uniform_batch(self) -> Batch:
        states, actions, rewards, next_states, dones = self.memory.sample()
        return Batch(
            state=self.state_to_tensor(states),
            action=self._actions(actions),
            reward=self._tensor(rewards).unsqueeze(-1),
            not_done=1 - torch.as_tensor(dones, device=self.device).float().unsqueeze(-1),
            next_state=self.state_to_tensor(next_states),
        )

    def _actions(self, actions: list) -> Tensor:
        if self.continuous:
            return self._tensor(actions)
        return torch.as_tensor(np.asarray(actions, dtype=np.int64), device=self.device).unsqueeze(-1)
