"""SAC with fixed temperature and twin critics (Haarnoja et al. 2018; agents spec 4, 5, 6.5).

Deviations from the paper, kept because the legacy numbers need them: actions are squashed by (2/π) atan but
the density is corrected as for tanh (Quirk A8); the target bootstraps with the target actor and the
temperature α is never tuned (Quirk A11).
"""

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from agents.batch import Batch, Observation
from agents.learners.acting import ContinuousLearner
from agents.learners.base import BootstrapSettings
from agents.learners.ddpg import Critic
from agents.learners.descent import Noise, Stage
from agents.networks import Actor, ActorCriticPolicy


@dataclass(eq=False, repr=False)
class GaussianActor(Actor):
    """Normal distribution over actions before the squash; it always samples."""

    min_log_std: InitVar[float] = -20
    max_log_std: InitVar[float] = 2

    def __post_init__(
        self, device: str | torch.device, seed: int, min_log_std: float, max_log_std: float
    ) -> None:
        super().__post_init__(device, seed)
        self.min_log_std = min_log_std
        self.max_log_std = max_log_std

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.add_hidden_layers()
        self.output_layer_mu = nn.Linear(self.hidden_dimension, len(self.value_ranges_of_action))
        self.output_layer_log_std = nn.Linear(self.hidden_dimension, len(self.value_ranges_of_action))

    def make_constants(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> None:
        """`atan_scale` 2/π and `min_val` 1e-6, which keeps the logarithm finite; both 0-d."""
        super().make_constants(device, dtype)
        self.min_val = torch.tensor(1e-6, dtype=dtype, device=device)

    def distribution(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation before the squash, each (B, 2)."""
        features = self.hidden(self.features(observation))
        log_std = self.output_layer_log_std(features).clamp(self.min_log_std, self.max_log_std)
        return self.output_layer_mu(features), log_std

    def sample(self, observation: Observation, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reparameterised action (B, 2) and its log-density (B, 1), from standard normal `noise` (B, 2)."""
        mean, log_std = self.distribution(observation)
        std = log_std.exp()
        unsquashed = mean + std * noise
        action = self.squash(unsquashed)
        # Quirk A8: 1 - a² belongs to tanh; the squash used here has the slope (2/π) / (1 + z²).
        log_density = Normal(mean, std, validate_args=False).log_prob(unsquashed)
        log_density = log_density - torch.log(1 - action.pow(2) + self.min_val)
        return action, log_density.sum(dim=-1, keepdim=True)

    def forward(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """A sampled action (B, 2) and its log-density (B, 1)."""
        self_state = observation[0]
        shape = len(self_state), len(self.value_ranges_of_action)
        return self.sample(observation, torch.randn(shape, dtype=self_state.dtype, device=self_state.device))


@dataclass(eq=False, repr=False)
class SAC_Policy(ActorCriticPolicy):  # noqa: N801 (legacy public name)
    """Actor and twin critics."""

    network_classes: ClassVar = {"actor": GaussianActor, "critic_1": Critic, "critic_2": Critic}

    min_log_std: InitVar[float] = -20
    max_log_std: InitVar[float] = 2

    def __post_init__(
        self, device: str | torch.device, seed: int, min_log_std: float, max_log_std: float
    ) -> None:
        super().__post_init__(device, seed)
        self.actor.min_log_std = min_log_std
        self.actor.max_log_std = max_log_std


class SAC(ContinuousLearner, name="SAC"):
    """Update and acting of SAC.

    Attributes:
        alpha: temperature, weight of the entropy.
    """

    Settings = BootstrapSettings
    policy_class = SAC_Policy
    planner_outputs = ("mean", "log_std")
    alpha = 0.078

    def greedy(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """An action (B, 2) sampled on the networks' device."""
        return self.policy_local.actor(observation)[0]

    def expected_return(self, observation: Observation, action: Tensor) -> Tensor:
        """See `Learner.expected_return`: the smaller critic's, with the entropy to come."""
        return self._smaller_value(self.policy_local, observation, action).squeeze(1)

    def planner(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """See `Learner.planner`: mean and logarithm of the standard deviation, which the planner samples."""
        return self.policy_local.actor.distribution, super().planner()[1]

    def draw_noise(self, batch_size: int) -> Noise:
        """Standard normals (B, 2) of the target actor and of the local actor, on the networks' device."""
        shape = batch_size, len(self.value_ranges_of_action)
        return {name: torch.randn(shape, device=self.device) for name in ("target_normal", "local_normal")}

    def stages(self) -> tuple[Stage, ...]:
        """Both critics, then the actor against the updated critics."""
        return Stage(self.critic_losses), Stage(self.actor_loss)

    def critic_losses(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Squared errors to the smaller target value plus entropy (agents spec 6.5, steps 1-2)."""
        with torch.no_grad():
            next_value = self._soft_value(self.policy_target, batch.next_state, noise["target_normal"])
            target = self.bellman_target(batch, next_value)
        critics = {name: getattr(self.policy_local, name) for name in ("critic_1", "critic_2")}
        values = {name: critic(batch.state, batch.action) for name, critic in critics.items()}
        return {name: (value - target).square().squeeze(1) for name, value in values.items()}

    def actor_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Minus the mean soft value of the actor's own actions (agents spec 6.5, step 4)."""
        value = self._soft_value(self.policy_local, batch.state, noise["local_normal"])
        return {"actor": -value.mean()}

    def _soft_value(self, policy: SAC_Policy, observation: Observation, noise: Tensor) -> Tensor:
        """min(Q1, Q2)(s, a) - α log π(a|s) for the action that `noise` gives, (B, 1)."""
        actions, log_density = policy.actor.sample(observation, noise)
        return self._smaller_value(policy, observation, actions) - self.alpha * log_density

    @staticmethod
    def _smaller_value(policy: SAC_Policy, observation: Observation, actions: Tensor) -> Tensor:
        return torch.min(policy.critic_1(observation, actions), policy.critic_2(observation, actions))
