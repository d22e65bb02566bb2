"""Sensor noise from a counter-based generator, the same on every device, eager and compiled.

Each number is a hash of (seed, call counter, stream, element): no state but the counter, so a compiled step
draws its noise inside the graph from keys given to it, and two steps never share them. The hash is a
bijection of 32 bits with almost no bias (C. Wellons, "triple32"); normals are Box-Muller pairs.

Von Mises angles have a random sign and the absolute value F(t), where t follows the Rayleigh distribution and
F is the monotone map that takes this distribution to that of the angle: exact, up to linear interpolation
in a table of F (tail masses within 2e-6). F is smooth for every concentration, from the uniform angle at
kappa = 0 to the half-normal one at large kappa, as the inverse distribution function itself is not.
"""

import hashlib
import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

TABLE_SIZE = 4096  # intervals of a map
TABLE_END = 6.0  # t of the last knot; beyond, with probability 2e-8, the map is constant
STREAMS = 5


def _series(function: Callable[[np.ndarray], np.ndarray], degree: int) -> np.ndarray:
    """Coefficients of the polynomial that interpolates a function of [-1, 1] at its Chebyshev points."""
    return Chebyshev.interpolate(function, degree).convert(kind=Polynomial).coef


# cos πx and sin πx / x as polynomials in x², within 3e-8, in a quarter of the time of the general functions
COSINE = _series(lambda x: np.cos(np.pi * x), 12)[::2].tolist()
SINE = _series(lambda x: np.sin(np.pi * x), 13)[1::2].tolist()


class ObjectNoise(NamedTuple):
    """Noise of k candidates for R observers in E environments, world frame, standard normal, [k, R, E]."""

    position_x: Tensor
    position_y: Tensor
    velocity_x: Tensor
    velocity_y: Tensor
    radius: Tensor  # von Mises angle of concentration ``r_kappa`` (rad)


class Noise(NamedTuple):
    """What one perception consumes (environment spec 7.2)."""

    obstacles: ObjectNoise  # k = O, by index
    robots: ObjectNoise  # k = R - 1, the other robots by index


class Radii(NamedTuple):
    """Maps from Rayleigh numbers to absolute von Mises angles, one for each concentration in use."""

    table: Tensor  # at equal knots in [0, 6], and its rise to the next (rad), [2, kappas · 4096]
    first: Tensor  # where the map of a robot begins, int32 [R, E] or [1, 1]


class NoiseKeys:
    """The counter of a generator: every call gives keys of its own (BLAKE2 of seed and counter).

    `state` holds the seed, from 0 to 2^63 - 1, and the counter, int64 [2] on the CPU.
    """

    def __init__(self, seed: int, device: torch.device | str):
        self._numbers, self._device = np.array([seed, 0]), device
        self.state = torch.from_numpy(self._numbers)  # the same memory

    def next(self) -> Tensor:
        """Keys of the next perception, int32 [5], one for each stream."""
        if torch.compiler.is_compiling():
            return sent(_next_keys_of_graph(self.state), self._device)
        return sent(_next_keys(self._numbers), self._device)


def _next_keys(numbers: np.ndarray) -> Tensor:
    numbers[1] += 1
    digest = hashlib.blake2b(numbers, digest_size=4 * STREAMS).digest()
    return torch.frombuffer(bytearray(digest), dtype=torch.int32)


@torch.library.custom_op("marinenav::next_keys", mutates_args={"state"})
def _next_keys_of_graph(state: Tensor) -> Tensor:
    """`_next_keys` as an operator that a graph may hold."""
    return _next_keys(state.numpy())


@_next_keys_of_graph.register_fake
def _(state: Tensor) -> Tensor:
    return state.new_empty(STREAMS, dtype=torch.int32)


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A CPU tensor copied to a device; the host goes on before a GPU has it."""
    if torch.device(device).type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)  # from other memory it would wait


def draw_noise(keys: Tensor, sizes: tuple[int, int, int], radii: Radii, dtype: torch.dtype) -> Noise:
    """Noise of one perception; `sizes` are O, R, E, with fewer than 2^31 pairs of robot and candidate."""
    obstacles, robots, envs = sizes
    return Noise(
        _draw(keys, 0, (obstacles, robots, envs), radii, dtype),
        _draw(keys, obstacles, (robots - 1, robots, envs), radii, dtype),
    )


def _draw(
    keys: Tensor, first: int, shape: tuple[int, int, int], radii: Radii, dtype: torch.dtype
) -> ObjectNoise:
    k, r, e = (torch.arange(size, dtype=torch.int32, device=keys.device) for size in shape)
    element = ((k[:, None, None] + first) * shape[1] + r[:, None]) * shape[2] + e
    position = _normal_pair(element ^ keys[0], element ^ keys[1], dtype)
    velocity = _normal_pair(element ^ keys[2], element ^ keys[3], dtype)
    bits = _hash(element ^ keys[4])
    sign = 1 - 2 * (bits & 1).to(dtype)  # the uniform number does not use this bit
    radius = sign * von_mises(_rayleigh(bits, dtype), radii)
    return ObjectNoise(*position, *velocity, radius)


def von_mises(rayleigh: Tensor, radii: Radii) -> Tensor:
    """Absolute von Mises angle (rad) of a Rayleigh number, by interpolation in the map of each robot."""
    position = (rayleigh * (TABLE_SIZE / TABLE_END)).clamp(max=TABLE_SIZE)
    knot = position.to(torch.int32).clamp(max=TABLE_SIZE - 1)
    # `gather` and not an index: compiled, that one would first turn negative indices around
    place = (radii.first + knot).long().flatten()
    value, rise = (column.gather(0, place).view(knot.shape) for column in radii.table)
    return value + (position - knot) * rise


def radius_maps(kappas: Tensor, dtype: torch.dtype) -> Radii:
    """Maps for concentrations, [R, E] or [1, 1], and whose is which; ValueError for invalid ones."""
    if not bool(torch.isfinite(kappas).all() and (kappas >= 0).all()):
        raise ValueError(
            f"r_kappa holds {kappas.min().item()} to {kappas.max().item()}; allowed are 0 and more"
        )
    values, index = torch.unique(kappas.double().cpu(), return_inverse=True)
    maps = np.stack([von_mises_map(kappa) for kappa in values.tolist()])
    table = torch.from_numpy(np.stack((maps[:, :-1], np.diff(maps)))).flatten(1)
    return Radii(table.to(kappas.device, dtype), (index * TABLE_SIZE).to(kappas.device, torch.int32))


@cache
def von_mises_map(kappa: float) -> np.ndarray:
    """The angle θ with P(|von Mises(0, kappa)| > θ) = exp(−t²/2) at the knots t, [4097] (rad)."""
    end = min(math.pi, 10 / math.sqrt(max(kappa, 1.0)))
    s = np.linspace(0, 1, 200_001)
    theta = end * s**2 * (3 - 2 * s)  # dense at both ends, where t changes fast with the angle
    density = np.exp(-2 * kappa * np.sin(theta / 2) ** 2)
    mass = np.diff(theta) * (density[1:] + density[:-1]) / 2
    tail = np.cumsum(mass[::-1])[::-1]  # from the far end, so that none is lost to rounding
    rayleigh = np.sqrt(-2 * np.log(tail / tail[0]))
    return np.interp(np.linspace(0, TABLE_END, TABLE_SIZE + 1), rayleigh, theta[:-1])


def _normal_pair(counters: Tensor, others: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two independent standard normals an element (Box and Muller, 1958)."""
    radius = _rayleigh(_hash(counters), dtype)
    x = 2 * _uniform(_hash(others), dtype) - 1  # angle over π
    return radius * _horner(COSINE, x * x), radius * x * _horner(SINE, x * x)


def _horner(coefficients: list[float], x: Tensor) -> Tensor:
    *rest, last, highest = coefficients
    value = highest * x + last
    for coefficient in reversed(rest):
        value = value * x + coefficient
    return value


def _rayleigh(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Rayleigh number, the length of a vector of two standard normals."""
    return torch.sqrt(-2 * torch.log(_uniform(bits, dtype)))


def _uniform(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform number in (0, 1] of the upper 24 bits."""
    return (_shift(bits, 8).to(dtype) + 0.5) * 2.0**-24


def _hash(bits: Tensor) -> Tensor:
    """Bijection of int32 in which every bit of the result depends on every bit given; overflow wraps."""
    bits = (bits ^ _shift(bits, 17)) * (0xED5AD4BB - 2**32)
    bits = (bits ^ _shift(bits, 11)) * (0xAC4C1B51 - 2**32)
    bits = (bits ^ _shift(bits, 15)) * 0x31848BAB
    return bits ^ _shift(bits, 14)


def _shift(bits: Tensor, places: int) -> Tensor:
    """Logical right shift: zeros come in from the left, where that of int32 copies the sign."""
    return (bits >> places) & ((1 << (32 - places)) - 1)
