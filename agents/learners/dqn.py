"""DQN over discrete actions (Mnih et al. 2015; agents spec 4, 5, 6.4), double if asked."""

from dataclasses import InitVar, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.batch import Batch, Observation
from agents.learners.acting import DiscreteLearner
from agents.learners.base import HuberSettings
from agents.learners.descent import Noise
from agents.networks import ObservationNetwork
from agents.settings import key


@dataclass(eq=False, repr=False)
class DQN_Policy(ObservationNetwork):  # noqa: N801 (legacy public name)
    """Value Q(s, a) of every action."""

    action_size: int
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.add_hidden_layers()
        self.output_layer = nn.Linear(self.hidden_dimension, self.action_size)

    def forward(self, observation: Observation) -> Tensor:
        """Values (B, 25)."""
        return self.output_layer(self.hidden(self.features(observation)))


class DQN(DiscreteLearner, name="DQN"):
    """Update and acting of DQN."""

    class Settings(HuberSettings):
        """Keys of DQN."""

        double: bool = key(
            False,
            "bootstrap from the target network's value of the action that the network itself finds best "
            "(van Hasselt et al. 2016), not from the target network's highest value",
            throughput=True,
        )

    policy_class = DQN_Policy

    def action_values(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """The network's output, (B, 25)."""
        return self.policy_local(observation)

    def network_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Huber loss to the best target value (Defect A10 fixed: the target is detached)."""
        with torch.no_grad():
            target = self.bellman_target(batch, self._next_value(batch.next_state))
        value = self.policy_local(batch.state).gather(1, batch.action)
        loss = functional.huber_loss(value, target, reduction="none", delta=self.settings.huber_delta)
        return {"network": loss.squeeze(1)}

    def _next_value(self, observation: Observation) -> Tensor:
        """Value of the action chosen next, (B, 1)."""
        values = self.policy_target(observation)
        if not self.settings.double:
            return values.max(dim=1, keepdim=True).values
        return values.gather(1, self.policy_local(observation).argmax(dim=1, keepdim=True))
