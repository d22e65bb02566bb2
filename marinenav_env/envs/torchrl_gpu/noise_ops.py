"""Sensor noise from a counter-based generator, the same on every device, eager and compiled.

Each number is a hash of (seed, call counter, stream, element): no state but the counter, so a compiled step
draws its noise inside the graph from keys given to it, and two steps never share them. The hash is two rounds
of a 32-bit integer finaliser (C. Wellons, "lowbias32"), keyed anew at each; normals are Box-Muller pairs.

Von Mises radii come from a normal z by the monotone map F⁻¹(Φ(z)), F the von Mises distribution function: the
distribution is exact, up to the linear interpolation of a table of that map (below 3e-6 rad). The map is
smooth for every concentration, from the uniform angle at kappa = 0 to z/√kappa at large kappa, which the
inverse distribution function itself is not.
"""

import hashlib
import math
import struct
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

TABLE_SIZE = 4097
TABLE_END = 6.0  # |z| of the outermost knots; beyond, probability 2e-9, the map is constant
UNIFORM_KAPPA = 1e-8  # below, the legacy generator draws a uniform angle


class ObjectNoise(NamedTuple):
    """Noise of k candidates seen by R observers in E environments, world frame, [k, R, E] each.

    Attributes:
        position_x: standard normal.
        position_y: standard normal.
        velocity_x: standard normal.
        velocity_y: standard normal.
        radius: von Mises angle of concentration ``r_kappa`` (rad).
    """

    position_x: Tensor
    position_y: Tensor
    velocity_x: Tensor
    velocity_y: Tensor
    radius: Tensor


class Noise(NamedTuple):
    """What one perception consumes (environment spec 7.2).

    Attributes:
        obstacles: k = O, by index.
        robots: k = R - 1, the other robots by index.
    """

    obstacles: ObjectNoise
    robots: ObjectNoise


class Radii(NamedTuple):
    """Maps from normals to von Mises angles, one for each concentration in use.

    Attributes:
        table: map at equally spaced knots in [-6, 6], [kappas, 4097] (rad).
        index: which map a robot uses, int32 [R, E] or [1, 1].
    """

    table: Tensor
    index: Tensor


class NoiseKeys:
    """The counter of a generator: every call gives keys of its own (BLAKE2 of seed and counter).

    Args:
        seed: non-negative integer below 2^64.
        device: of the keys.
    """

    def __init__(self, seed: int, device: torch.device | str):
        self._seed, self._counter, self._device = seed, 0, device

    def next(self) -> Tensor:
        """Keys of the next perception, int32 [6, 2]: two for each stream of uniform numbers."""
        self._counter += 1
        message = struct.pack("<QQ", self._seed, self._counter)
        words = np.frombuffer(hashlib.blake2b(message, digest_size=48).digest(), np.int32)
        return torch.from_numpy(words.reshape(6, 2).copy()).to(self._device)


def draw_noise(keys: Tensor, sizes: tuple[int, int, int], radii: Radii, dtype: torch.dtype) -> Noise:
    """Noise of one perception.

    Args:
        keys: from `NoiseKeys`.
        sizes: obstacles O, robots R, environments E; fewer than 2^31 pairs of robot and candidate.
        radii: from `radius_maps`.
        dtype: of the result.
    """
    obstacles, robots, envs = sizes
    return Noise(
        _draw(keys, 0, (obstacles, robots, envs), radii, dtype),
        _draw(keys, obstacles, (robots - 1, robots, envs), radii, dtype),
    )


def _draw(
    keys: Tensor, first: int, shape: tuple[int, int, int], radii: Radii, dtype: torch.dtype
) -> ObjectNoise:
    """Noise of candidates from number `first` on."""
    k, r, e = (torch.arange(size, dtype=torch.int32, device=keys.device) for size in shape)
    element = ((k[:, None, None] + first) * shape[1] + r[:, None]) * shape[2] + e
    position = _normal_pair(keys[0], keys[1], element, dtype)
    velocity = _normal_pair(keys[2], keys[3], element, dtype)
    normal, _ = _normal_pair(keys[4], keys[5], element, dtype)
    return ObjectNoise(*position, *velocity, von_mises(normal, radii))


def von_mises(normal: Tensor, radii: Radii) -> Tensor:
    """Von Mises angle (rad) of a standard normal, by interpolation in the map of each robot."""
    size = radii.table.shape[1]
    position = (normal + TABLE_END) * ((size - 1) / (2 * TABLE_END))
    position = position.clamp(0, size - 1)
    knot = position.to(torch.int32).clamp(max=size - 2)
    flat, first = radii.table.reshape(-1), radii.index * size + knot
    low, high = flat[first], flat[first + 1]
    return low + (position - knot) * (high - low)


def radius_maps(kappas: Tensor, dtype: torch.dtype) -> Radii:
    """Maps for the concentrations `kappas`, [R, E] or [1, 1], and which robot uses which.

    Raises:
        ValueError: for a negative or non-finite concentration.
    """
    if not bool(torch.isfinite(kappas).all() and (kappas >= 0).all()):
        raise ValueError(
            f"r_kappa holds {kappas.min().item()} to {kappas.max().item()}; allowed are 0 and more"
        )
    values, index = torch.unique(kappas.double().cpu(), return_inverse=True)
    table = np.stack([von_mises_map(kappa) for kappa in values.tolist()])
    device = kappas.device
    return Radii(torch.from_numpy(table).to(device=device, dtype=dtype), index.to(device, torch.int32))


def von_mises_map(kappa: float) -> np.ndarray:
    """F⁻¹(Φ(z)) at the knots z, F the distribution function of von Mises(0, kappa), [4097] (rad)."""
    z = np.linspace(0, TABLE_END, TABLE_SIZE // 2 + 1)
    if kappa < UNIFORM_KAPPA:
        half = math.pi * (2 * ndtr(z) - 1)
    else:
        # tail masses of both distributions from the far end, so that none is lost to rounding
        # and with angles ever closer to that end
        theta = min(math.pi, 10 / math.sqrt(kappa)) * (1 - np.linspace(1, 0, 200_001) ** 3)
        density = np.exp(-2 * kappa * np.sin(theta / 2) ** 2)
        steps = np.diff(theta) * (density[1:] + density[:-1]) / 2
        tail = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
        tail_z = -ndtri(tail[:-1] / (2 * tail[0]))
        half = np.interp(z, tail_z, theta[:-1])
    return np.concatenate((-half[:0:-1], half))


def _normal_pair(key: Tensor, other: Tensor, element: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two independent standard normals an element (Box and Muller, 1958)."""
    radius = torch.sqrt(-2 * torch.log(_uniform(key, element, dtype)))
    angle = 2 * math.pi * _uniform(other, element, dtype)
    return radius * torch.cos(angle), radius * torch.sin(angle)


def _uniform(key: Tensor, element: Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in (0, 1] of 24 bits, of the shape of `element`."""
    bits = _mix(_mix(element ^ key[0]) + key[1])
    return (_shift(bits, 8).to(dtype) + 0.5) * 2.0**-24


def _mix(bits: Tensor) -> Tensor:
    """Bijection of int32 in which every bit of the result depends on every bit given; overflow wraps."""
    bits = (bits ^ _shift(bits, 16)) * 0x7FEB352D
    bits = (bits ^ _shift(bits, 15)) * (0x846CA68B - 2**32)
    return bits ^ _shift(bits, 16)


def _shift(bits: Tensor, places: int) -> Tensor:
    """Logical right shift: zeros come in from the left, where that of int32 copies the sign."""
    return (bits >> places) & ((1 << (32 - places)) - 1)
