"""What the learners have in common: policies, acting, the update skeleton, the target copy.

A learner adds its keys (`Settings`), its networks (`policy_class`), its random numbers (`draw_noise`), its
losses (`stages`) and its greedy action; naming it in its class statement registers it. Everything else is
here, once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from agents.batch import Batch, Observation
from agents.learners.descent import Descent
from agents.networks import DEFAULT_SIZES, ObservationNetwork
from agents.settings import Section, key
from marinenav_env.envs.contract.constants import NUM_ACTIONS


class LearnerSettings(Section):
    """Keys that every learner has."""

    learning_rate: float = key(1e-4, "Adam's step size", gt=0, le=1)
    adam_epsilon: float = key(
        1e-8,
        "added to the root of Adam's second moment: larger ones leave small gradients small",
        throughput=True,
        gt=0,
        le=1,
    )
    max_grad_norm: float = key(0.5, "gradients of a network are clipped to this 2-norm", gt=0, le=1e12)
    discount: float = key(0.99, "discount factor per step", ge=0, le=1)
    tau: float = key(1.0, "share of the local weights in a target copy", gt=0, le=1)

    @property
    def return_steps(self) -> int:
        """Steps of the return in a batch, before it is bootstrapped."""
        return 1


class BootstrapSettings(LearnerSettings):
    """Keys of the learners whose return may have more steps than the legacy one."""

    bootstrap_steps: int = key(
        1,
        "steps of the returns, along each robot's own stream, before they are bootstrapped",
        throughput=True,
        ge=1,
        le=100,
    )

    @property
    def return_steps(self) -> int:
        """See `LearnerSettings.return_steps`."""
        return self.bootstrap_steps


class HuberSettings(BootstrapSettings):
    """Keys of the learners that regress values or quantiles by a Huber loss."""

    huber_delta: float = key(
        1.0,
        "errors of a value or quantile beyond this count linearly, so that a mean value all but ignores rare "
        "large ones, as after a collision; far above the returns the loss is half the squared error",
        throughput=True,
        gt=0,
        le=1e6,
    )


class QuantileSettings(HuberSettings):
    """Keys of the implicit quantile learners."""

    num_quantiles: int = key(
        8,
        "quantile fractions of a state in an update, which takes about as long as there are",
        throughput=True,
        ge=1,
        le=1000,
    )


LEARNERS: dict[str, type["Learner"]] = {}
"""Every learner by its name; `agents.learners` fills it."""


class Learner(Descent):
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
        updates: updates made.
        dtype: precision of networks and observations, float32 unless changed by `to_dtype`.
        noise_source: device on which quantile fractions are drawn; the legacy learners use the CPU's
            generator everywhere.
    """

    name: ClassVar[str]
    policy_class: ClassVar[type]
    network_names: ClassVar[tuple[str, ...]]
    planner_outputs: ClassVar[tuple[str, ...]]  # what `planner` gives, in order
    has_noise: ClassVar[bool] = False  # whether the networks tell training from evaluation

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
        sizes: tuple[int, ...] = DEFAULT_SIZES,
        value_ranges_of_action: Sequence[Sequence[float]] = ((-1.0, 1.0), (-1.0, 1.0)),
        action_size: int = NUM_ACTIONS,
        device: str | torch.device = "cpu",
        seed: int = 0,
        training: bool = True,
    ) -> None:
        self.settings = settings
        self.sizes = sizes
        self.value_ranges_of_action = value_ranges_of_action
        self.action_size = action_size
        self.device = device
        self.seed = seed
        self.updates = 0
        self.noise_source = "cpu"
        self.dtype = torch.float32
        self.policy_local = self.make_policy()
        self.policy_target = self.make_policy()
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        if training:
            keys = {"lr": settings.learning_rate, "eps": settings.adam_epsilon}
            for name, network in self.networks(self.policy_local).items():
                self.optimizers[name] = torch.optim.Adam(network.parameters(), **keys)

    # ---- what each learner defines

    def make_policy(self) -> Any:
        """New networks on `device`; reseeds torch, so two calls give equal networks."""
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

    def planner(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """What a vehicle's planner computes with the acting network, and random inputs of it."""
        return self.acting_network, (self.acting_network.example_observation(),)

    def return_quantiles(
        self, observation: Observation, action: Tensor | None, taus: Tensor
    ) -> Tensor | None:
        """Quantiles of the return that the learner predicts; `None` if it predicts none.

        Args:
            observation: batch of B observations.
            action: actions taken, (B, 2) or (B,) int64; `None` for every discrete one.
            taus: fractions, (B, N, 1).

        Returns:
            (B, N), or (B, N, 25) of every action.
        """
        return None

    def expected_return(self, observation: Observation, action: Tensor) -> Tensor:
        """Return that the learner expects of actions taken and its policy afterwards, (B,).

        Args:
            observation: batch of B observations.
            action: as `greedy` gives them, (B, 2) or (B,) int64.
        """
        raise NotImplementedError

    @classmethod
    def keys_in(cls, weights: dict[str, Tensor]) -> dict[str, Any]:
        """Keys that the shapes of the acting network's weights tell."""
        return {}

    # ---- networks

    @classmethod
    def networks(cls, policy: Any) -> dict[str, ObservationNetwork]:
        """The networks of a policy in order; the keys name optimisers and model files."""
        return {name: policy if name == "network" else getattr(policy, name) for name in cls.network_names}

    @property
    def acting_network(self) -> ObservationNetwork:
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

    def broken(self) -> list[str]:
        """Names of the local networks with weights that are no finite numbers any more."""
        networks = self.networks(self.policy_local).items()
        finite = {name: [w.isfinite().all() for w in network.parameters()] for name, network in networks}
        return [name for name, flags in finite.items() if not torch.stack(flags).all()]

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

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning goes on from: networks, optimisers, updates made."""
        policies = {"local": self.policy_local, "target": self.policy_target}
        states = {
            kind: {name: network.state_dict() for name, network in self.networks(policy).items()}
            for kind, policy in policies.items()
        }
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {**states, "optimizers": optimizers, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        for kind, policy in (("local", self.policy_local), ("target", self.policy_target)):
            for name, network in self.networks(policy).items():
                network.load_state_dict(state[kind][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.updates = state["updates"]

    def bellman_target(self, batch: Batch, next_value: Tensor) -> Tensor:
        """Bellman target r + γⁿ V' where the episode goes on; broadcasts over samples of V'."""
        discount = self.settings.discount**self.settings.return_steps
        return batch.reward + discount * next_value * batch.not_done
