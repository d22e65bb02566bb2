"""TD3: twin delayed deterministic policy gradients (Fujimoto et al. 2018).

Beyond the legacy six: no recorded numbers exist for it. It is DDPG with the three changes of the paper: the
smaller of two critics bootstraps, the target action is smoothed by clipped noise, and the actor learns at
every second update. Target copies follow the schedule of the run, as for every learner here.
"""

from typing import ClassVar

import torch
from torch import Tensor

from agents.batch import Batch, Observation
from agents.learners.acting import ContinuousLearner
from agents.learners.base import BootstrapSettings
from agents.learners.ddpg import Critic
from agents.learners.descent import Noise, Stage
from agents.networks import Actor, ActorCriticPolicy
from agents.settings import key


class TD3_Policy(ActorCriticPolicy):  # noqa: N801 (named like the legacy policies)
    """Actor and twin critics."""

    network_classes: ClassVar = {"actor": Actor, "critic_1": Critic, "critic_2": Critic}


class TD3(ContinuousLearner, name="TD3"):
    """Update and acting of TD3."""

    class Settings(BootstrapSettings):
        """Keys of TD3; the defaults are the paper's."""

        policy_delay: int = key(2, "updates of the critics for one of the actor", ge=1, le=1000)
        target_noise: float = key(0.2, "standard deviation of the noise on target actions", ge=0, le=1)
        noise_clip: float = key(0.5, "largest noise on target actions", ge=0, le=2)

    policy_class = TD3_Policy

    def expected_return(self, observation: Observation, action: Tensor) -> Tensor:
        """See `Learner.expected_return`: the smaller critic's."""
        values = [critic(observation, action) for critic in self._critics(self.policy_local).values()]
        return torch.min(*values).squeeze(1)

    def draw_noise(self, batch_size: int) -> Noise:
        """Standard normals (B, 2) on the networks' device."""
        shape = batch_size, len(self.value_ranges_of_action)
        return {"target_normal": torch.randn(shape, device=self.device)}

    def stages(self) -> tuple[Stage, ...]:
        """Both critics; with a delay, the actor against the updated first critic."""
        return Stage(self.critic_losses), Stage(self.actor_loss, every=self.settings.policy_delay)

    def critic_losses(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Squared errors to the smaller target value of a smoothed target action."""
        target_policy = self.policy_target
        with torch.no_grad():
            clip = self.settings.noise_clip
            smoothing = (self.settings.target_noise * noise["target_normal"]).clamp(-clip, clip)
            actions = (target_policy.actor(batch.next_state) + smoothing).clamp(-1.0, 1.0)
            values = [critic(batch.next_state, actions) for critic in self._critics(target_policy).values()]
            target = self.bellman_target(batch, torch.min(*values))
        critics = self._critics(self.policy_local)
        return {
            name: (critic(batch.state, batch.action) - target).square().squeeze(1)
            for name, critic in critics.items()
        }

    def actor_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Minus the mean value, by the first critic, of the actor's own actions."""
        actions = self.policy_local.actor(batch.state)
        return {"actor": -self.policy_local.critic_1(batch.state, actions).mean()}

    @staticmethod
    def _critics(policy: TD3_Policy) -> dict[str, Critic]:
        return {"critic_1": policy.critic_1, "critic_2": policy.critic_2}
