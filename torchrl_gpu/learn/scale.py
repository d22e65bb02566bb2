"""Observations scaled to about 1 while training; the scale ends up in the weights of every saved model.

The legacy learners take raw observations, with thrusts up to 1000 N (Quirk A13). Scaling the
input of a linear layer is the same as scaling the columns of its weight, so a network trained on scaled
observations, with the scale folded into its encoders' first weights, is the same function of raw ones. Models
are always saved folded: they load in the legacy pipeline and in the vessel's planner like any other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from agents.learners.base import Learner
from agents.settings import Section, key
from marinenav_env.envs.contract.layout import OBSERVATION_FIELDS
from torchrl_gpu.learn.borrowed_weights import borrowed


class ScaleSettings(Section):
    """Whether observations are scaled."""

    observation_scale: bool = key(
        False,
        "scale observations to about 1; folded into the weights when a model is saved",
        throughput=True,
    )


class ObservationScale:
    """Scales observations, and folds itself into networks."""

    def __init__(self, device: torch.device | str) -> None:
        self.scales = {
            key: torch.tensor([field.scale for field in fields.values()], device=device)
            for key, fields in OBSERVATION_FIELDS.items()
        }

    def __call__(self, key: str, values: Tensor) -> Tensor:
        """The observation ``key``, (..., 7) or (..., 5), scaled; any other entry as it is."""
        scale = self.scales.get(key)
        return values if scale is None else values * scale

    @contextmanager
    def folded(self, learner: Learner) -> Iterator[None]:
        """Within the block the local networks take raw observations; afterwards scaled ones again."""
        weights = [
            (layer.weight, scale)
            for network in learner.networks(learner.policy_local).values()
            for layer, scale in self._first_layers(network)
        ]
        with borrowed(weight for weight, _ in weights):
            for weight, scale in weights:
                weight.mul_(scale)
            yield

    def unfold_(self, learner: Learner) -> None:
        """Make networks that take raw observations, those of a loaded model, take scaled ones."""
        for policy in (learner.policy_local, learner.policy_target):
            for network in learner.networks(policy).values():
                for layer, scale in self._first_layers(network):
                    with torch.no_grad():
                        layer.weight.div_(scale)

    def _first_layers(self, network: nn.Module) -> tuple[tuple[nn.Linear, Tensor], ...]:
        return (
            (network.self_encoder[0], self.scales["self_state"]),
            (network.object_encoder[0], self.scales["objects_state"]),
        )
