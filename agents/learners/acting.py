"""Acting with continuous actions and with discrete ones."""

import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from agents.batch import Batch, Observation
from agents.heap import keep_freed_memory
from agents.learners.base import Learner
from agents.learners.descent import Noise, Stage
from agents.products import LayersByOneDNN, onednn_is_faster

MANY = 64
"""Observations from which on acting is a matter of products, and no longer one of calls."""
CACHED_ROWS = 1280
"""Observations whose hidden layers a CPU's cache holds."""


def in_parts(network: Callable[[Observation], Tensor], observation: Observation, rows: int) -> Tensor:
    """What a network gives for many observations, on a CPU for so many rows at a time.

    The cache then holds the hidden layers: thousands take half the time. Each part frees what the next one
    takes, which is why the process keeps it (`agents.heap`). Without gradients the layers are computed as the
    processor does it fastest (`agents.products`).
    """
    number = len(observation[0])
    if observation[0].device.type != "cpu" or observation[1] is None:
        return network(observation)
    by_onednn = number >= MANY and onednn_is_faster() and not torch.is_grad_enabled()
    with LayersByOneDNN() if by_onednn else nullcontext():
        if number <= rows:
            return network(observation)
        keep_freed_memory()
        parts = zip(*(values.split(rows) for values in observation), strict=True)
        return torch.cat([network(Observation(*part)) for part in parts])


class ContinuousLearner(Learner):
    """Acting for continuous actions: the network runs only when ε does not explore."""

    continuous = True
    planner_outputs = ("action",)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.network_names = tuple(cls.policy_class.network_classes)

    def make_policy(self) -> Any:
        """See `Learner.make_policy`."""
        return self.policy_class(*self.sizes, self.value_ranges_of_action, self.device, self.seed)

    def greedy(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """The actor's output, (B, 2)."""
        return in_parts(self.policy_local.actor, observation, CACHED_ROWS)

    def act(
        self, observation: Observation, eps: float = 0.0, use_eval: bool = True, cvar: float = 1.0
    ) -> list[float]:
        """List of 2 floats; draws as in agents spec 5. `cvar` has no effect (Quirk A17)."""
        if random.random() > eps:
            with torch.no_grad():
                return self.greedy(observation)[0].tolist()
        return [np.random.uniform(low, high) for low, high in self.value_ranges_of_action]

    def stages(self) -> tuple[Stage, ...]:
        """Critic, then actor against the updated critic."""
        return Stage(self.critic_loss), Stage(self.actor_loss)

    def critic_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Loss of every sample, (B,), by the critic's name, of a learner with one critic."""
        raise NotImplementedError

    def actor_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Loss of the actor by its name, 0-d."""
        raise NotImplementedError


class DiscreteLearner(Learner):
    """Acting for discrete actions: the network runs first, always; the value of an action decides."""

    network_names = ("network",)
    continuous = False
    planner_outputs = ("values",)
    greedy_type: ClassVar[type] = np.int64

    @property
    def cached_rows(self) -> int:
        """Observations whose hidden layers a CPU's cache holds."""
        return CACHED_ROWS

    def make_policy(self) -> nn.Module:
        """See `Learner.make_policy`."""
        return self.policy_class(*self.sizes, self.action_size, self.device, self.seed).to(self.device)

    def action_values(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Expected return of every action, (B, 25)."""
        raise NotImplementedError

    def greedy(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Index of the best action, (B,) int64."""
        return in_parts(partial(self.action_values, cvar=cvar), observation, self.cached_rows).argmax(dim=1)

    def expected_return(self, observation: Observation, action: Tensor) -> Tensor:
        """See `Learner.expected_return`."""
        return self.action_values(observation).gather(1, action[:, None]).squeeze(1)

    def act(
        self, observation: Observation, eps: float = 0.0, use_eval: bool = True, cvar: float = 1.0
    ) -> int | np.int64:
        """Index of an action; draws as in agents spec 5."""
        with self.acting_mode(use_eval), torch.no_grad():
            values = self.action_values(observation, cvar)
        return self.choose(values, eps)

    def choose(self, values: Tensor, eps: float) -> int | np.int64:
        """ε-greedy choice given the values (1, 25)."""
        if random.random() > eps:
            return self.greedy_type(values[0].argmax().item())
        return random.choice(np.arange(self.action_size))

    def stages(self) -> tuple[Stage, ...]:
        """One loss."""
        return (Stage(self.network_loss),)

    def network_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Loss of every sample, (B,), by the network's name."""
        raise NotImplementedError
