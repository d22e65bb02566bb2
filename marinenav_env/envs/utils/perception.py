"""The sensor of one vessel: its limits, its noise, and what it holds of the last look (environment spec 7)."""

from math import pi
from typing import Any

import numpy as np


class Perception:
    """Sensor parameters, noise stream and the last observation.

    Attributes `range` (m), `angle` (full sector, rad), `max_obj_num`, `pos_std` (m), `vel_std` (m/s), `r_kappa`
    and `r_mean_ratio` may be changed at any time. `observed_obs` and `observed_objs` hold the indices of the
    detected obstacles and robots, `observation` the last self state and all detected objects.

    Args:
        seed: seed of the noise stream `rd`.
    """

    range = 20.0
    angle = 2 * pi
    max_obj_num = 5
    pos_std = 0.05
    vel_std = 0.05
    r_kappa = 1.0
    r_mean_ratio = 0.8

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.rd = np.random.RandomState(seed)
        self.observation: dict[str, list[Any]] = {"self": [], "objects": []}
        self.observed_obs: list[int] = []
        self.observed_objs: list[int] = []

    def pos_observation(self, px: float, py: float) -> tuple[float, float]:
        """Noisy position (m), two normals."""
        return tuple(self._blur((px, py), (self.pos_std, self.pos_std)))

    def vel_observation(self, vx: float, vy: float) -> tuple[float, float]:
        """Noisy velocity (m/s), two normals."""
        return tuple(self._blur((vx, vy), (self.vel_std, self.vel_std)))

    def motion_observation(self, px: float, py: float, vx: float, vy: float) -> list[float]:
        """Noisy position and velocity in one draw of four normals, the same stream as one after the other."""
        return self._blur((px, py, vx, vy), (self.pos_std, self.pos_std, self.vel_std, self.vel_std))

    def r_observation(self, r: float) -> float:
        """Noisy radius (m), one von Mises."""
        share = self.r_mean_ratio
        return share * r + (1 - share) * self.rd.vonmises(0.0, self.r_kappa) / pi * r

    def _blur(self, values: tuple[float, ...], deviations: tuple[float, ...]) -> list[float]:
        noise = self.rd.standard_normal(len(values)).tolist()
        return [value + deviation * g for value, deviation, g in zip(values, deviations, noise, strict=True)]
