"""What the learners have in common: policies, acting, the update skeleton, the target copy.

A learner adds its keys (`Settings`), its networks (`policy_class`), its random numbers (`draw_noise`), its
losses (`stages`) and its greedy action; naming it in its class statement registers it. Everything else is
here, once.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn

from agents.models.files import ModelFiles
from agents.networks import Observation
from agents.settings import LearnerSettings


class Transitions(NamedTuple):
    """One batch as the losses read it.

    Attributes:
        state: observation before the action.
        action: (N, 2) float32, or (N, 1) int64.
        reward: (N, 1) float32; for Rainbow the n-step return.
        not_done: (N, 1) float32, 0 where nothing is bootstrapped.
        next_state: observation to bootstrap from; for Rainbow n steps on.
        weight: (N,) importance weights, or `None` when all are 1.
    """

    state: Observation
    action: Tensor
    reward: Tensor
    not_done: Tensor
    next_state: Observation
    weight: Tensor | None


Noise = dict[str, Tensor]


class Stage(NamedTuple):
    """One step of an update.

    Attributes:
        loss: gives a loss for every network that the stage trains, see `Learner.update`.
        every: the stage has its turn in every so many updates, the first time in the last of them.
    """

    loss: Callable[[Transitions, Noise], dict[str, Tensor]]
    every: int = 1


LEARNERS: dict[str, type["Learner"]] = {}
"""Every learner by its name; `agents.learners` fills it."""


class Learner:
    """Base of the learners; `class DQN(Learner, name="DQN")` registers one.

    Args:
        settings: its keys, an instance of its `Settings`.
        sizes: the seven of `networks.NetworkSizes`, in order.
        value_ranges_of_action: exploration range of each continuous action dimension.
        action_size: number of discrete actions.
        device: where networks live and batches are expected.
        seed: seed of the networks (agents spec 2).
        training: `False` builds no optimisers; acting works either way (Defect A1 of the legacy code fixed).

    Attributes:
        policy_local: learns and acts; a module, or an object that holds modules.
        policy_target: its delayed copy.
        optimizers: one Adam for each entry of `networks`.
        dtype: precision of networks and observations, float32 unless changed by `to_dtype`.
        noise_source: device on which quantile fractions are drawn; the legacy learners use the CPU's
            generator everywhere.
        drop_empty_objects: `True` looks whether any state of a batch has an object and, if none has, leaves
            the object encoder out of the gradient (Quirk A15). It costs one host synchronisation a batch;
            `False` changes only what Adam does to that encoder in such batches.
    """

    name: ClassVar[str]
    policy_class: ClassVar[type]
    continuous: ClassVar[bool]
    prioritized: ClassVar[bool] = False
    has_noise: ClassVar[bool] = False  # whether the networks tell training from evaluation
    model_files: ClassVar[dict[str, ModelFiles]]
    drop_empty_objects: bool = True

    class Settings(LearnerSettings):
        """Keys of the learner."""

    def __init_subclass__(cls, name: str | None = None) -> None:
        if name is not None:
            cls.name = name
            LEARNERS[name] = cls

    def __init__(
        self,
        settings: LearnerSettings,
        *,
        sizes: tuple[int, ...],
        value_ranges_of_action: list[list[float]],
        action_size: int,
        device: str | torch.device,
        seed: int,
        training: bool = True,
    ) -> None:
        self.settings = settings
        self.sizes = sizes
        self.value_ranges_of_action = value_ranges_of_action
        self.action_size = action_size
        self.device = device
        self.seed = seed
        self.noise_source = "cpu"
        self.dtype = torch.float32
        self.policy_local = self.make_policy()
        self.policy_target = self.make_policy()
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        if training:
            for name, network in self.networks(self.policy_local).items():
                self.optimizers[name] = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)

    # ---- what each learner defines

    def make_policy(self) -> Any:
        """New networks on `device`; reseeds torch, so two calls give equal networks."""
        raise NotImplementedError

    def draw_noise(self, batch_size: int) -> Noise:
        """All random numbers of one update, in the legacy order, so that the stages are deterministic."""
        return {}

    def stages(self) -> tuple[Stage, ...]:
        """Losses in the order of their optimiser steps; see `update`."""
        raise NotImplementedError

    def greedy(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Batched action without ε: (B, 2) float32 or (B,) int64. Modules act in the mode they are in.

        Args:
            observation: batch of B observations.
            cvar: factor on the quantile fractions; only IQN uses it.
        """
        raise NotImplementedError

    def act(
        self, observation: Observation, eps: float = 0.0, use_eval: bool = True, cvar: float = 1.0
    ) -> Any:
        """One ε-greedy action for one observation (B = 1), with the legacy draws (agents spec 5)."""
        raise NotImplementedError

    # ---- networks

    @classmethod
    def networks(cls, policy: Any) -> dict[str, nn.Module]:
        """The networks of a policy in order; the keys name optimisers and model files."""
        return {name: policy if name == "network" else getattr(policy, name) for name in cls.model_files}

    @property
    def acting_network(self) -> nn.Module:
        """The network that chooses actions: the first of the local policy."""
        return next(iter(self.networks(self.policy_local).values()))

    @property
    def learning_rate(self) -> float:
        """Adam's step size, the same for all networks."""
        return next(iter(self.optimizers.values())).param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = value

    def change(self, **values: Any) -> None:
        """Go on with other values of some keys; whether they are allowed is not looked at."""
        self.settings = self.settings.model_copy(update=values)

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Compute in another precision, constants anew; the released models act in float64."""
        self.dtype = dtype
        for policy in (self.policy_local, self.policy_target):
            for network in self.networks(policy).values():
                network.to(dtype).make_constants(self.device, dtype)

    @contextmanager
    def acting_mode(self, use_eval: bool) -> Iterator[None]:
        """Let the acting network act for evaluation or for training; afterwards it is in train mode.

        Only Rainbow's noisy layers tell the modes apart.
        """
        if not self.has_noise:  # to walk through the modules would cost as much as to act
            yield
            return
        self.acting_network.train(not use_eval)
        try:
            yield
        finally:
            self.acting_network.train()

    # ---- learning

    def transitions(self, batch: TensorDictBase) -> Transitions:
        """Read a batch TensorDict `[N]`.

        Keys: `self_state` (N, 7), `objects_state` (N, 5, 5), `objects_mask` (N, 5) bool, `action` (N, 2) or
            (N,),
        `reward` (N, 1), `done` (N, 1) bool, and the first three under `"next"`. Rainbow reads the n-step
        return from `reward`, the state n steps on from `"next"`, and importance weights from
        `priority_weight` (N,) if there are any (the names TorchRL's `MultiStep` and `PrioritizedSampler`
        use).
        """
        action = batch["action"]
        return Transitions(
            state=self._observation(batch),
            action=action if self.continuous else action.view(-1, 1),
            reward=batch["reward"],
            not_done=1 - batch["done"].float(),
            next_state=self._observation(batch["next"]),
            weight=batch.get("priority_weight", None),
        )

    def _observation(self, states: TensorDictBase) -> Observation:
        mask = states["objects_mask"]
        if self.drop_empty_objects and not mask.any():
            return states["self_state"], None, None
        return states["self_state"], states["objects_state"], mask

    def update(self, batch: TensorDictBase) -> TensorDict:
        """One gradient update of every local network (agents spec 6).

        Each stage returns a loss for every network it trains: 0-d, or one of each sample, (N,). Only that
        network's parameters are differentiated (the legacy code also filled the critic's gradients in the
        actor step, and dropped them), clipped and stepped, before the next stage looks at them. A parameter
        the loss does not reach keeps the gradient `None`, and Adam skips it.

        Args:
            batch: see `transitions`.

        Returns:
            Detached losses, one entry a network: 0-d, or (N,) where the loss is one of samples and the
            learner or the batch is prioritised.
        """
        transitions = self.transitions(batch)
        noise = self.draw_noise(len(transitions.reward))
        losses = {}
        for stage in self.stages():
            for name, loss in stage.loss(transitions, noise).items():
                objective = self.objective(loss, transitions)
                self._descend(name, objective)
                losses[name] = self.told(loss, objective, transitions)
        return TensorDict(losses, batch_size=[])

    def objective(self, loss: Tensor, transitions: Transitions) -> Tensor:
        """The scalar to minimise: what a stage returned, or the mean of its sample losses (N,), weighted."""
        weight = transitions.weight
        if loss.ndim == 0:
            return loss
        return loss.mean() if weight is None else (weight * loss).mean()

    def told(self, loss: Tensor, objective: Tensor, transitions: Transitions) -> Tensor:
        """What the caller learns of a loss: that of every sample if it may become a priority, else one."""
        prioritized = self.prioritized or transitions.weight is not None
        return (loss if prioritized else objective).detach()

    def _descend(self, name: str, objective: Tensor) -> None:
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        gradients = torch.autograd.grad(objective, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        optimizer.step()

    def stay_on_device(self) -> None:
        """From now on draw on the device, and look at no batch from the host."""
        self.noise_source = self.device
        self.drop_empty_objects = False

    @torch.no_grad()
    def update_target(self) -> None:
        """Target ← τ·local + (1 - τ)·target for every parameter; buffers stay (agents spec 7)."""
        local, target = (
            [weight for network in self.networks(policy).values() for weight in network.parameters()]
            for policy in (self.policy_local, self.policy_target)
        )
        moved = torch._foreach_mul(local, self.settings.tau)
        torch._foreach_mul_(target, 1 - self.settings.tau)
        torch._foreach_add_(target, moved)

    def bellman_target(self, transitions: Transitions, next_value: Tensor) -> Tensor:
        """Bellman target r + γⁿ V' where the episode goes on; broadcasts over samples of V'."""
        discount = self.settings.discount**self.settings.return_steps
        return transitions.reward + discount * next_value * transitions.not_done


class ContinuousLearner(Learner):
    """Acting for continuous actions: the network runs only when ε does not explore."""

    continuous = True

    def make_policy(self) -> Any:
        """See `Learner.make_policy`."""
        return self.policy_class(*self.sizes, self.value_ranges_of_action, self.device, self.seed)

    def act(
        self, observation: Observation, eps: float = 0.0, use_eval: bool = True, cvar: float = 1.0
    ) -> list[float]:
        """List of 2 floats; draws as in agents spec 5. `cvar` has no effect (Quirk A17)."""
        if random.random() > eps:
            with torch.no_grad():
                return self.greedy(observation)[0].tolist()
        return [np.random.uniform(low, high) for low, high in self.value_ranges_of_action]


class DiscreteLearner(Learner):
    """Acting for discrete actions: the network runs first, always; the value of an action decides."""

    continuous = False
    greedy_type: ClassVar[type] = np.int64

    def make_policy(self) -> nn.Module:
        """See `Learner.make_policy`."""
        return self.policy_class(*self.sizes, self.action_size, self.device, self.seed).to(self.device)

    def action_values(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Expected return of every action, (B, 25)."""
        raise NotImplementedError

    def greedy(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Index of the best action, (B,) int64."""
        return self.action_values(observation, cvar).argmax(dim=1)

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
