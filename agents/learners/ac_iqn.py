"""AC-IQN: deterministic actor, implicit quantile critic (agents spec 4, 5, 6.1).

The critic learns the return's quantile function as IQN does (Dabney et al. 2018), the actor climbs its mean
as in DDPG (Lillicrap et al. 2016); Lin et al., RA-L 2025, doi 10.1109/LRA.2024.3518839.
"""

from dataclasses import InitVar, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.batch import Batch, Observation
from agents.learners.acting import ContinuousLearner
from agents.learners.base import QuantileSettings
from agents.learners.descent import Noise
from agents.networks import (
    QUANTILES,
    Actor,
    ActorCriticPolicy,
    QuantileNetwork,
    draw_taus,
    encoder,
    quantile_huber_loss,
)
from agents.settings import key


@dataclass(eq=False, repr=False)
class Critic(QuantileNetwork):
    """Quantiles Z(s, a; τ) of the return."""

    action_dimension: int
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.add_cos_embedding()
        self.action_encoder = encoder(self.action_dimension, self.hidden_dimension)
        self.add_hidden_layers()
        self.output_layer = nn.Linear(self.hidden_dimension, 1)

    def quantiles(self, observation: Observation, actions: Tensor, taus: Tensor) -> Tensor:
        """Quantiles at given fractions: actions (B, 2), taus (B, N, 1) -> (B, N)."""
        features = self.quantile_features(observation, taus)  # (B, N, 256)
        features = functional.relu(self.hidden_layer(features))  # (B, N, 128)
        features = features * self.action_encoder(actions).unsqueeze(1)
        return self.output_layer(functional.relu(self.hidden_layer_2(features))).squeeze(-1)

    def forward(
        self, observation: Observation, actions: Tensor, num_tau: int = QUANTILES, cvar: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Quantiles (B, N) at random fractions, and the fractions (B, N, 1), scaled by `cvar`."""
        taus = draw_taus(len(actions), num_tau, actions.device) * cvar
        return self.quantiles(observation, actions, taus), taus


class AC_IQN_Policy(ActorCriticPolicy):  # noqa: N801 (legacy public name)
    """Actor and critic."""

    network_classes: ClassVar = {"actor": Actor, "critic": Critic}


class AC_IQN(ContinuousLearner, name="AC-IQN"):  # noqa: N801
    """Update and acting of AC-IQN."""

    class Settings(QuantileSettings):
        """Keys of AC-IQN."""

        cvar: float = key(
            1.0,
            "the actor climbs the mean of this share of the return's lower tail; 1 is the mean of all",
            throughput=True,
            gt=0,
            le=1,
        )

    policy_class = AC_IQN_Policy

    def return_quantiles(self, observation: Observation, action: Tensor, taus: Tensor) -> Tensor:
        """See `Learner.return_quantiles`."""
        return self.policy_local.critic.quantiles(observation, action, taus)

    def expected_return(self, observation: Observation, action: Tensor) -> Tensor:
        """See `Learner.expected_return`: the mean of quantiles at the middles of equal shares."""
        number = self.policy_local.critic.K
        middles = (torch.arange(number, device=action.device) + 0.5) / number
        taus = middles.to(action.dtype).view(1, -1, 1).expand(len(action), -1, -1)
        return self.return_quantiles(observation, action, taus).mean(1)

    def draw_noise(self, batch_size: int) -> Noise:
        """Fractions (B, N, 1) for the target critic, the local critic, and the critic in the actor step."""
        size = batch_size, self.settings.num_quantiles, self.device, self.noise_source
        noise = {name: draw_taus(*size) for name in ("target_taus", "local_taus", "actor_taus")}
        noise["actor_taus"] *= self.settings.cvar  # quantiles of the lower tail alone: their mean is its CVaR
        return noise

    def critic_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Quantile Huber loss to the bootstrapped target quantiles (agents spec 6.1, steps 2-4)."""
        with torch.no_grad():
            next_actions = self.policy_target.actor(batch.next_state)
            next_quantiles = self.policy_target.critic.quantiles(
                batch.next_state, next_actions, noise["target_taus"]
            )
            target = self.bellman_target(batch, next_quantiles)  # (B, N)
        quantiles = self.policy_local.critic.quantiles(batch.state, batch.action, noise["local_taus"])
        delta = self.settings.huber_delta
        return {"critic": quantile_huber_loss(quantiles, target, noise["local_taus"], delta)}

    def actor_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Minus the mean quantile of the actor's own actions (agents spec 6.1, step 6)."""
        actions = self.policy_local.actor(batch.state)
        quantiles = self.policy_local.critic.quantiles(batch.state, actions, noise["actor_taus"])
        return {"actor": -quantiles.mean()}
