"""IQN: implicit quantile network over discrete actions (Dabney et al. 2018; agents spec 4, 5, 6.2)."""

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.batch import Batch, Observation
from agents.learners.acting import DiscreteLearner
from agents.learners.base import QuantileSettings
from agents.learners.descent import Noise
from agents.networks import QUANTILES, QuantileNetwork, draw_taus, of_actions, quantile_huber_loss
from agents.settings import key

CACHED_QUANTILES = 4096
"""Observations times fractions whose hidden layers a CPU's cache holds."""


@dataclass(eq=False, repr=False)
class IQN_Policy(QuantileNetwork):  # noqa: N801 (legacy public name)
    """Quantiles Z(s, a; τ) of the return of every action."""

    action_size: int
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.add_cos_embedding()
        self.add_hidden_layers()
        self.output_layer = nn.Linear(self.hidden_dimension, self.action_size)

    def quantiles(self, observation: Observation, taus: Tensor) -> Tensor:
        """Quantiles at given fractions: taus (B, N, 1) -> (B, N, 25)."""
        return self.output_layer(self.hidden(self.quantile_features(observation, taus)))

    def forward(
        self, observation: Observation, num_tau: int = QUANTILES, cvar: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Quantiles (B, N, 25) at random fractions, and the fractions (B, N, 1), scaled by `cvar`."""
        self_state = observation[0]
        taus = draw_taus(len(self_state), num_tau, self_state.device) * cvar
        return self.quantiles(observation, taus), taus


class IQN(DiscreteLearner, name="IQN"):
    """Update and acting of IQN."""

    class Settings(QuantileSettings):
        """Keys of IQN."""

        acting_quantiles: int = key(
            QuantileNetwork.K,
            "random quantiles whose mean is the value of an action, in training and its evaluations; "
            "acting takes about as long as there are",
            throughput=True,
            ge=1,
            le=1000,
        )

    policy_class = IQN_Policy
    planner_outputs = ("quantiles",)

    def sample_quantiles(self, observation: Observation, cvar: float = 1.0) -> tuple[Tensor, Tensor]:
        """Quantiles (B, K, 25) to act on and their fractions (B, K, 1), with K the key `acting_quantiles`."""
        size = len(observation[0])
        taus = draw_taus(size, self.settings.acting_quantiles, self.device, self.noise_source) * cvar
        return self.policy_local.quantiles(observation, taus), taus

    @property
    def cached_rows(self) -> int:
        """See `DiscreteLearner.cached_rows`."""
        return max(1, CACHED_QUANTILES // self.settings.acting_quantiles)

    def action_values(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Mean over random quantiles, (B, 25); `cvar` below 1 keeps to the lower tail."""
        return self.sample_quantiles(observation, cvar)[0].mean(dim=1)

    def planner(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """See `Learner.planner`: the planner draws the 32 fractions, (1, 32)."""
        network = self.policy_local
        observation, fractions = network.example_observation(), torch.rand(1, network.K, dtype=torch.float64)
        return lambda state, taus: network.quantiles(state, taus.unsqueeze(-1)), (observation, fractions)

    def return_quantiles(self, observation: Observation, action: Tensor | None, taus: Tensor) -> Tensor:
        """See `Learner.return_quantiles`."""
        quantiles = self.policy_local.quantiles(observation, taus)
        return quantiles if action is None else of_actions(quantiles, action.view(-1, 1))

    def draw_noise(self, batch_size: int) -> Noise:
        """Fractions (B, N, 1) for the target network and for the local network."""
        size = batch_size, self.settings.num_quantiles, self.device, self.noise_source
        return {name: draw_taus(*size) for name in ("target_taus", "local_taus")}

    def network_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Quantile Huber loss to the best target quantiles.

        Quirk A9: the maximum over actions is taken for every fraction separately, not of the mean.
        """
        with torch.no_grad():
            next_quantiles = self.policy_target.quantiles(batch.next_state, noise["target_taus"])
            target = self.bellman_target(batch, next_quantiles.max(dim=2).values)  # (B, N)
        quantiles = self.policy_local.quantiles(batch.state, noise["local_taus"])  # (B, N, 25)
        expected = of_actions(quantiles, batch.action)  # (B, N)
        delta = self.settings.huber_delta
        return {"network": quantile_huber_loss(expected, target, noise["local_taus"], delta)}
