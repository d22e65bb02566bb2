"""QR-DQN: quantile regression over discrete actions (Dabney et al. 2018, AAAI, "Distributional RL with QR").

Beyond the legacy six: no recorded numbers exist for it. The network gives the return's quantiles at N fixed
fractions, where IQN is asked for those at any.
"""

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.batch import Batch, Observation
from agents.learners.acting import DiscreteLearner
from agents.learners.base import HuberSettings
from agents.learners.descent import Noise
from agents.networks import ObservationNetwork, of_actions, quantile_huber_loss
from agents.settings import key
from marinenav_env.envs.contract.constants import NUM_ACTIONS


@dataclass(eq=False, repr=False)
class QR_DQN_Policy(ObservationNetwork):  # noqa: N801 (named like the legacy policies)
    """Quantiles Z_i(s, a) of the return of every action, at the fractions (i - ½) / N."""

    action_size: int
    fixed_quantiles: int
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.add_hidden_layers()
        self.quantile_layer = nn.Linear(self.hidden_dimension, self.fixed_quantiles * self.action_size)

    def make_constants(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> None:
        """`taus` (1, N, 1): the fractions."""
        midpoints = torch.arange(self.fixed_quantiles, dtype=dtype, device=device) + 0.5
        self.taus = (midpoints / self.fixed_quantiles).view(1, -1, 1)

    def forward(self, observation: Observation) -> Tensor:
        """Quantiles (B, N, 25), which nothing forces to rise with the fraction."""
        quantiles = self.quantile_layer(self.hidden(self.features(observation)))
        return quantiles.unflatten(1, (self.fixed_quantiles, self.action_size))

    def values(self, observation: Observation) -> Tensor:
        """Expected returns (B, 25)."""
        return self(observation).mean(dim=1)


class QR_DQN(DiscreteLearner, name="QR-DQN"):  # noqa: N801
    """Update and acting of QR-DQN."""

    class Settings(HuberSettings):
        """Keys of QR-DQN."""

        fixed_quantiles: int = key(32, "quantiles of the return that the network gives", ge=1, le=1000)

    policy_class = QR_DQN_Policy

    def make_policy(self) -> QR_DQN_Policy:
        """See `Learner.make_policy`."""
        sizes = *self.sizes, self.action_size, self.settings.fixed_quantiles
        return self.policy_class(*sizes, self.device, self.seed).to(self.device)

    @classmethod
    def keys_in(cls, weights: dict[str, Tensor]) -> dict[str, Any]:
        """See `Learner.keys_in`."""
        # No file tells the number of actions.
        return {"fixed_quantiles": len(weights["quantile_layer.bias"]) // NUM_ACTIONS}

    def action_values(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Means of the quantiles, (B, 25)."""
        return self.policy_local.values(observation)

    def planner(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """See `Learner.planner`: action values, as those of DQN."""
        return self.policy_local.values, super().planner()[1]

    def return_quantiles(self, observation: Observation, action: Tensor | None, taus: Tensor) -> Tensor:
        """See `Learner.return_quantiles`: the steps of the distribution that the quantiles stand for."""
        quantiles = self.policy_local(observation).sort(dim=1).values  # (B, N, 25)
        step = (taus * self.settings.fixed_quantiles).long().clamp(max=self.settings.fixed_quantiles - 1)
        found = quantiles.gather(1, step.expand(-1, -1, quantiles.shape[2]))
        return found if action is None else of_actions(found, action.view(-1, 1))

    def network_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Quantile Huber loss to the target quantiles of the action with the best mean (algorithm 1)."""
        with torch.no_grad():
            next_quantiles = self.policy_target(batch.next_state)  # (B, N, 25)
            best = next_quantiles.mean(dim=1).argmax(dim=1, keepdim=True)
            target = self.bellman_target(batch, of_actions(next_quantiles, best))  # (B, N)
        expected = of_actions(self.policy_local(batch.state), batch.action)  # (B, N)
        delta = self.settings.huber_delta
        return {"network": quantile_huber_loss(expected, target, self.policy_local.taus, delta)}
