"""Network parts shared by the learners (agents spec 3 and 4)."""

import math
from dataclasses import InitVar, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.batch import Observation
from marinenav_env.envs.contract.layout import OBJECT_ROWS, OBJECT_SIZE, SELF_SIZE

QUANTILES = 8  # quantile fractions per state in an update
DEFAULT_SIZES = (SELF_SIZE, OBJECT_SIZE, OBJECT_ROWS, 56, 40, 56 + OBJECT_ROWS * 40, 128)
"""The sizes of the legacy networks, in the order of `NetworkSizes`."""


def encoder(in_features: int, out_features: int) -> nn.Sequential:
    """Linear layer and ReLU; `Sequential`, because legacy parameter names carry its index."""
    return nn.Sequential(nn.Linear(in_features, out_features), nn.ReLU())


def draw_taus(batch_size: int, num_tau: int, device: str | torch.device, source: str = "cpu") -> Tensor:
    """Uniform fractions in [0, 1), (batch_size, num_tau, 1) float32, drawn on `source`, moved to `device`."""
    # Legacy learners draw on the CPU whatever the device (agents spec 3); `source=device` saves the transfer.
    return torch.rand(batch_size, num_tau, device=source).to(device).unsqueeze(-1)


@dataclass(eq=False, repr=False)
class NetworkSizes:
    """The seven sizes every network and every policy takes first."""

    self_dimension: int  # numbers in a robot's own state
    object_dimension: int  # numbers per observed object
    max_object_num: int  # most objects per observation
    self_feature_dimension: int  # width of the encoded own state
    object_feature_dimension: int  # width of one encoded object
    concat_feature_dimension: int  # width of the encoded own state and all objects together
    hidden_dimension: int  # width of all hidden layers

    @property
    def sizes(self) -> tuple[int, ...]:
        """The seven sizes in order."""
        return tuple(getattr(self, size.name) for size in fields(NetworkSizes))


class ObservationNetwork(NetworkSizes, nn.Module):
    """Base of every network: seeds torch, builds the two encoders, computes the features φ (agents spec 3).

    A network is a dataclass whose fields are exactly what a legacy model folder stores to rebuild it;
    `device` (where constants are made; the caller moves the parameters) and `seed` follow as constructor-only
    arguments. `seed_id` is the integer that seeded torch, `seed` the generator it seeded, torch's default
    one.
    """

    def __post_init__(self, device: str | torch.device, seed: int) -> None:
        nn.Module.__init__(self)
        expected = self.self_feature_dimension + self.max_object_num * self.object_feature_dimension
        if self.concat_feature_dimension != expected:
            raise ValueError(
                f"concat_feature_dimension is {self.concat_feature_dimension}, must be "
                f"self_feature_dimension + max_object_num * object_feature_dimension = {expected}"
            )
        self.device = device
        self.make_constants(device)
        self.seed_id = seed
        self.seed = torch.manual_seed(seed)
        self.self_encoder = encoder(self.self_dimension, self.self_feature_dimension)
        self.object_encoder = encoder(self.object_dimension, self.object_feature_dimension)
        self.add_layers()

    def add_layers(self) -> None:
        """Register what follows the encoders; the order decides random draws, names and Adam states."""
        raise NotImplementedError

    def add_hidden_layers(self) -> None:
        """Register the two hidden layers."""
        self.hidden_layer = nn.Linear(self.concat_feature_dimension, self.hidden_dimension)
        self.hidden_layer_2 = nn.Linear(self.hidden_dimension, self.hidden_dimension)

    def make_constants(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> None:
        """Create the tensor constants, which are not in `state_dict`; again after a change of precision."""

    def get_constructor_parameters(self) -> dict[str, Any]:
        """Arguments that rebuild this network, as legacy model folders store them (agents spec 10)."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"seed": self.seed_id}

    def example_observation(self) -> tuple[Tensor, Tensor, Tensor]:
        """One random float64 observation of the network's sizes."""
        objects = self.max_object_num
        shapes = (1, self.self_dimension), (1, objects, self.object_dimension), (1, objects)
        return tuple(torch.rand(shape, dtype=torch.float64) for shape in shapes)

    def hidden(self, features: Tensor) -> Tensor:
        """Two hidden layers with ReLU, (..., 256) -> (..., 128)."""
        return functional.relu(self.hidden_layer_2(functional.relu(self.hidden_layer(features))))

    def features(self, observation: Observation) -> Tensor:
        """Observation features φ, shape (B, 256) (agents spec 3)."""
        # Padded rows are zeroed after the ReLU, so they contribute 0 and not the encoded bias. Without
        # objects (`None`) `object_encoder` is not called: the value is the same, but its gradient is `None`
        # and Adam skips it (Quirk A15).
        assert len(observation) == 3, f"observation has {len(observation)} parts, must have 3"
        self_state, objects_state, objects_mask = observation
        self_features = self.self_encoder(self_state)
        if objects_state is None:
            object_features = self_features.new_zeros(
                len(self_state), self.max_object_num * self.object_feature_dimension
            )
        else:
            padding = (objects_mask < 0.5).unsqueeze(-1)
            object_features = self.object_encoder(objects_state).masked_fill(padding, 0.0).flatten(1)
        return torch.cat((self_features, object_features), dim=1)


class QuantileNetwork(ObservationNetwork):
    """Base of the implicit quantile networks: cosine embedding of fractions (Dabney et al. 2018)."""

    K = 32  # fractions per state when acting
    n = 64  # cosines per fraction

    def add_cos_embedding(self) -> None:
        """Register the embedding of fractions."""
        self.cos_embedding = nn.Linear(self.n, self.concat_feature_dimension)

    def make_constants(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> None:
        """`pis` (1, 1, 64): π·k, rounded once from float64."""
        multiples = [math.pi * k for k in range(self.n)]
        self.pis = torch.tensor(multiples, dtype=dtype, device=device).view(1, 1, -1)

    def quantile_features(self, observation: Observation, taus: Tensor) -> Tensor:
        """φ times ψ(τ), with ψ(τ) = ReLU(linear(cos(π k τ))); taus (B, N, 1) -> (B, N, 256)."""
        embedding = functional.relu(self.cos_embedding(torch.cos(taus * self.pis)))
        return self.features(observation).unsqueeze(1) * embedding


@dataclass(eq=False, repr=False)
class Actor(ObservationNetwork):
    """Deterministic actor of AC-IQN, DDPG and TD3: a = (2/π) atan(o(h2(h(φ)))), inside (-1, 1).

    SAC's adds a deviation to it.

    Quirk A14: `value_ranges_of_action` sets only the number of dimensions and the range of exploration.
    """

    value_ranges_of_action: list[list[float]]
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def add_layers(self) -> None:
        """See `ObservationNetwork.add_layers`."""
        self.add_hidden_layers()
        self.output_layer = nn.Linear(self.hidden_dimension, len(self.value_ranges_of_action))

    def make_constants(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> None:
        """`atan_scale`: 2/π, 0-d."""
        self.atan_scale = torch.tensor(2 / math.pi, dtype=dtype, device=device)

    def squash(self, x: Tensor) -> Tensor:
        """Map the real line onto (-1, 1)."""
        return self.atan_scale * torch.atan(x)

    def forward(self, observation: Observation) -> Tensor:
        """Action (B, action_dimension)."""
        return self.squash(self.output_layer(self.hidden(self.features(observation))))


@dataclass(eq=False, repr=False)
class ActorCriticPolicy(NetworkSizes):
    """Base of the policies with an actor and critics: plain objects that hold the networks as attributes.

    `network_classes` names them in construction order; each is seeded one above the one before.
    """

    network_classes: ClassVar[dict[str, type[ObservationNetwork]]]

    value_ranges_of_action: list[list[float]]
    device: InitVar[str | torch.device] = "cpu"
    seed: InitVar[int] = 0

    def __post_init__(self, device: str | torch.device, seed: int) -> None:
        for offset, (name, network_class) in enumerate(self.network_classes.items()):
            ranges = self.value_ranges_of_action
            own_parameter = ranges if name == "actor" else len(ranges)
            setattr(self, name, network_class(*self.sizes, own_parameter, device, seed + offset).to(device))


class NoisyLinear(nn.Module):
    """Linear layer with factorised Gaussian noise on its parameters (Fortunato et al. 2018; agents spec 3).

    In train mode it computes with μ + σ⊙ε, in eval mode with μ. The noise ε is held in two buffers that only
    `reset_noise` changes.
    """

    def __init__(self, in_features: int, out_features: int, std_init: float = 0.05) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in_features)
        self.weight_mu = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(
            torch.full((out_features, in_features), std_init / math.sqrt(in_features))
        )
        self.bias_mu = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))
        self.bias_sigma = nn.Parameter(torch.full((out_features,), std_init / math.sqrt(out_features)))
        self.register_buffer("weight_epsilon", torch.empty(out_features, in_features))
        self.register_buffer("bias_epsilon", torch.empty(out_features))
        self.reset_noise()

    def _scaled_noise(self, size: int) -> Tensor:
        x = torch.randn(size, device=self.weight_mu.device)
        return x.sign() * x.abs().sqrt()

    def reset_noise(self) -> None:
        """Draw new noise in place: `randn(in)`, then `randn(out)`, on the parameters' device."""
        noise_in = self._scaled_noise(self.in_features)
        noise_out = self._scaled_noise(self.out_features)
        torch.outer(noise_out, noise_in, out=self.weight_epsilon)
        self.bias_epsilon.copy_(noise_out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if not self.training:
            return functional.linear(x, self.weight_mu, self.bias_mu)
        weight = self.weight_mu + self.weight_sigma * self.weight_epsilon
        bias = self.bias_mu + self.bias_sigma * self.bias_epsilon
        return functional.linear(x, weight, bias)


def calculate_huber_loss(td_errors: Tensor, k: float = 1.0) -> Tensor:
    """Huber loss of errors δ, (B, 8, 8): ½δ² up to |δ| = k, then k(|δ| - ½k) (agents spec 6)."""
    # Anything but 8 quantiles is an assertion error, as in the legacy code.
    assert td_errors.shape[1:] == (QUANTILES, QUANTILES), f"td_errors has shape {tuple(td_errors.shape)}"
    return _huber(td_errors, k)


def _huber(td_errors: Tensor, k: float = 1.0) -> Tensor:
    """`calculate_huber_loss` of any number of quantiles."""
    return functional.huber_loss(td_errors, torch.zeros_like(td_errors), reduction="none", delta=k)


def of_actions(quantiles: Tensor, actions: Tensor) -> Tensor:
    """Quantiles (B, N) of one action each, (B, 1) int64, from those of every action, (B, N, 25)."""
    index = actions.unsqueeze(1).expand(-1, quantiles.shape[1], 1)
    return quantiles.gather(2, index).squeeze(2)


def quantile_huber_loss(expected: Tensor, target: Tensor, taus: Tensor, k: float = 1.0) -> Tensor:
    """Quantile regression loss of each sample, (B,): mean_j Σ_i |τ_i - 1[δ_ij < 0]| L(δ_ij).

    Local quantiles Z_i (B, N) at fractions τ_i (B, N, 1) against samples y_j of the target distribution (B,
    N') without gradient, L the Huber loss of threshold `k`: agents spec 6.1, step 4; Dabney et al. 2018,
    equation 9.
    """
    td_errors = target.unsqueeze(1) - expected.unsqueeze(2)  # (B, i, j)
    overestimated = (td_errors.detach() < 0).float()
    loss = (taus - overestimated).abs() * _huber(td_errors, k)
    return loss.sum(dim=1).mean(dim=1)
