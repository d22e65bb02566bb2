"""Rainbow: categorical, dueling, noisy, double Q-learning on prioritised n-step returns.

Agents spec 4, 5, 6.6; Hessel et al. 2018; the projection is algorithm 1 of Bellemare et al. 2017. Deviation
kept because the legacy numbers need it, unless ``redraw_noise`` is given: the local network's noise is never
redrawn, so that only ε-greedy explores (Quirk A5), and what is learned is not what acts without noise.
"""

from dataclasses import InitVar, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from agents.batch import Batch, Observation
from agents.learners.acting import DiscreteLearner
from agents.learners.base import LearnerSettings
from agents.learners.descent import Noise
from agents.networks import NoisyLinear, ObservationNetwork
from agents.settings import key


@dataclass(eq=False, repr=False)
class Rainbow_Policy(ObservationNetwork):  # noqa: N801 (legacy public name)
    """Distribution of the return of every action over fixed atoms."""

    action_size: int
    atoms: int
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """Value (`_v`) and advantage (`_a`) streams, in alternation."""
        width = self.hidden_dimension
        self.hidden_layer_v = NoisyLinear(self.concat_feature_dimension, width)
        self.hidden_layer_a = NoisyLinear(self.concat_feature_dimension, width)
        self.hidden_layer_v_2 = NoisyLinear(width, width)
        self.hidden_layer_a_2 = NoisyLinear(width, width)
        self.output_layer_v = NoisyLinear(width, self.atoms)
        self.output_layer_a = NoisyLinear(width, self.action_size * self.atoms)

    def forward(self, observation: Observation, log: bool = False) -> Tensor:
        """Probabilities (B, 25, 51), or their logarithms."""
        return (functional.log_softmax if log else functional.softmax)(self.logits(observation), dim=2)

    def logits(self, observation: Observation) -> Tensor:
        """What the softmax over atoms is taken of, (B, 25, 51)."""
        features = self.features(observation)
        value = functional.relu(self.hidden_layer_v_2(functional.relu(self.hidden_layer_v(features))))
        advantage = functional.relu(self.hidden_layer_a_2(functional.relu(self.hidden_layer_a(features))))
        value = self.output_layer_v(value).view(-1, 1, self.atoms)
        advantage = self.output_layer_a(advantage).view(-1, self.action_size, self.atoms)
        return value + advantage - advantage.mean(dim=1, keepdim=True)

    def reset_noise(self) -> None:
        """Redraw the noise of the six layers in registration order."""
        for layer in self.children():
            if isinstance(layer, NoisyLinear):
                layer.reset_noise()


def project(
    probabilities: Tensor, returns: Tensor, discount: Tensor, support: Tensor, v_min: float, v_max: float
) -> Tensor:
    """Distribution of R + discount·Z, moved back onto the atoms of Z (agents spec 6.6, steps 4-5).

    Each shifted atom is clamped to the support and its mass shared between its two neighbours in proportion
    to their nearness.

    Args:
        probabilities: distribution of Z, (B, atoms).
        returns: R, (B, 1).
        discount: factor on Z, 0 where nothing is bootstrapped, (B, 1).
        support: the evenly spaced atoms, (atoms,).
        v_min: first atom.
        v_max: last atom.

    Returns:
        Probabilities, (B, atoms).
    """
    atoms = len(support)
    shifted = (returns + discount * support).clamp(v_min, v_max)  # (B, atoms)
    position = (shifted - v_min) / ((v_max - v_min) / (atoms - 1))
    lower, upper = position.floor().long(), position.ceil().long()
    # An atom that falls exactly on another has lower = upper and would lose its mass: move one of them.
    lower = torch.where((upper > 0) & (lower == upper), lower - 1, lower)
    upper = torch.where((lower < atoms - 1) & (lower == upper), upper + 1, upper)
    offset = torch.arange(len(returns), device=returns.device).unsqueeze(1) * atoms
    projected = torch.zeros_like(probabilities).view(-1)
    projected.index_add_(0, (lower + offset).view(-1), (probabilities * (upper - position)).view(-1))
    projected.index_add_(0, (upper + offset).view(-1), (probabilities * (position - lower)).view(-1))
    return projected.view_as(probabilities)


class Rainbow(DiscreteLearner, name="Rainbow"):
    """Update and acting of Rainbow.

    Its losses are those of the samples, unweighted: the caller turns them into priorities.

    Attributes:
        atoms: number of atoms of the return's distribution.
        support: the atoms, (51,) float32.
    """

    class Settings(LearnerSettings):
        """Keys of Rainbow."""

        n_step: int = key(3, "steps of the return", ge=1, le=100)
        v_min: float = key(-1.0, "lowest return that the atoms tell", throughput=True, ge=-1e6, le=0)
        v_max: float = key(1.0, "highest return that the atoms tell", throughput=True, gt=0, le=1e6)
        redraw_noise: bool = key(
            False,
            "redraw the learning network's noise at every update, as Rainbow is published; the legacy noise "
            "is that of the start for ever, and a policy evaluated without it is not the one that learned",
            throughput=True,
        )

        @property
        def return_steps(self) -> int:
            """See `LearnerSettings.return_steps`."""
            return self.n_step

    policy_class = Rainbow_Policy
    planner_outputs = ("probabilities",)
    prioritized = True
    has_noise = True
    greedy_type = int
    # The prioritised memory always gave tensors, also for batches without any object.
    drop_empty_objects = False

    atoms = 51

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self.support = torch.linspace(self.Vmin, self.Vmax, self.atoms, device=self.device)

    @property
    def Vmin(self) -> float:
        """Lowest atom."""
        return self.settings.v_min

    @property
    def Vmax(self) -> float:
        """Highest atom."""
        return self.settings.v_max

    @property
    def delta_z(self) -> float:
        """Spacing of the atoms."""
        return (self.Vmax - self.Vmin) / (self.atoms - 1)

    def to_dtype(self, dtype: torch.dtype) -> None:
        """See `Learner.to_dtype`."""
        super().to_dtype(dtype)
        self.support = torch.linspace(self.Vmin, self.Vmax, self.atoms, dtype=dtype, device=self.device)

    def make_policy(self) -> Rainbow_Policy:
        """See `Learner.make_policy`."""
        policy = self.policy_class(*self.sizes, self.action_size, self.atoms, self.device, self.seed)
        return policy.to(self.device)

    def action_values(self, observation: Observation, cvar: float = 1.0) -> Tensor:
        """Expected returns, (B, 25)."""
        return self._expectation(self.policy_local(observation))

    def _expectation(self, probabilities: Tensor) -> Tensor:
        return (probabilities * self.support).sum(dim=2)

    def draw_noise(self, batch_size: int) -> Noise:
        """New noise in the target network, in place, and with ``redraw_noise`` in the local one."""
        self.policy_target.reset_noise()
        if self.settings.redraw_noise:
            self.policy_local.reset_noise()
        return {}

    def network_loss(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Cross-entropy of every sample to its projected target distribution, (B,)."""
        # The softmax is that of the 51 atoms of one action; those of the other 24 nobody reads.
        rows = torch.arange(len(batch.reward), device=batch.reward.device)
        logits = self.policy_local.logits(batch.state)[rows, batch.action.squeeze(1)]
        log_probabilities = functional.log_softmax(logits, dim=1)
        with torch.no_grad():
            # Double Q-learning: the local network chooses, the target network evaluates.
            best = self._expectation(self.policy_local(batch.next_state)).argmax(dim=1)
            next_logits = self.policy_target.logits(batch.next_state)[rows, best]
            next_probabilities = functional.softmax(next_logits, dim=1)
            discount = batch.not_done * self.settings.discount**self.settings.n_step
            target = project(next_probabilities, batch.reward, discount, self.support, self.Vmin, self.Vmax)
        return {"network": -(target * log_probabilities).sum(dim=1)}
