"""The sensor of one vessel: limits, noise, and what it holds of the last look (environment spec 7)."""

from math import pi
from typing import Any

import numpy as np


class Perception:
    """Sensor parameters, noise stream and last observation.

    Attributes `range` (m), `angle` (full sector, rad), `max_obj_num`, `pos_std` (m), `vel_std` (m/s),
    `r_kappa` and `r_mean_ratio` may change at any time. `observed_obs` and `observed_objs` hold the
    indices of the detected obstacles and robots, `observation` the last self state and all detected objects.

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
        # The same stream as rd.normal(0, std), in half the time.
        normal = self.rd.standard_normal
        return px + self.pos_std * normal(), py + self.pos_std * normal()

    def vel_observation(self, vx: float, vy: float) -> tuple[float, float]:
        """Noisy velocity (m/s), two normals."""
        normal = self.rd.standard_normal
        return vx + self.vel_std * normal(), vy + self.vel_std * normal()

    def r_observation(self, r: float) -> float:
        """Noisy radius (m), one von Mises."""
        share = self.r_mean_ratio
        return share * r + (1 - share) * self.rd.vonmises(0.0, self.r_kappa) / pi * r
