"""DDPG: deterministic actor, one value critic (Lillicrap et al. 2016; agents spec 4, 5, 6.3)."""

from dataclasses import InitVar, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.batch import Batch, Observation
from agents.learners.acting import ContinuousLearner
from agents.learners.base import HuberSettings
from agents.learners.descent import Noise
from agents.networks import Actor, ActorCriticPolicy, ObservationNetwork, encoder


@dataclass(eq=False, repr=False)
class Critic(ObservationNetwork):
    """Value Q(s, a), also of SAC and TD3."""

    action_dimension: int
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.action_encoder = encoder(self.action_dimension, self.hidden_dimension)
        self.add_hidden_layers()
        self.output_layer = nn.Linear(self.hidden_dimension, 1)

    def forward(self, observation: Observation, actions: Tensor) -> Tensor:
        """Value (B, 1) of actions (B, 2)."""
        features = functional.relu(self.hidden_layer(self.features(observation))) * self.action_encoder(
            actions
        )
        return self.output_layer(functional.relu(self.hidden_layer_2(features)))


class DDPG_Policy(ActorCriticPolicy):  # noqa: N801 (legacy public name)
    """Actor and critic."""

    network_classes: ClassVar = {"actor": Actor, "critic": Critic}


class DDPG(ContinuousLearner, name="DDPG"):
    """Update and acting of DDPG."""

    Settings = HuberSettings
    policy_class = DDPG_Policy

    def expected_return(self, observation: Observation, action: Tensor) -> Tensor:
        """See `Learner.expected_return`."""
        return self.policy_local.critic(observation, action).squeeze(1)

    def critic_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Huber loss to the bootstrapped value of the target networks."""
        with torch.no_grad():
            next_actions = self.policy_target.actor(batch.next_state)
            next_value = self.policy_target.critic(batch.next_state, next_actions)
            target = self.bellman_target(batch, next_value)
        value = self.policy_local.critic(batch.state, batch.action)
        loss = functional.huber_loss(value, target, reduction="none", delta=self.settings.huber_delta)
        return {"critic": loss.squeeze(1)}

    def actor_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Minus the mean value of the actor's own actions."""
        actions = self.policy_local.actor(batch.state)
        return {"actor": -self.policy_local.critic(batch.state, actions).mean()}
