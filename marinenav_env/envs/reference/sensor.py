"""The sensor of one vessel: limits, noise, and what it holds of the last look (environment spec 7)."""

from collections.abc import Mapping
from math import atan2, pi, sqrt
from typing import Any

import numpy as np

from marinenav_env.envs.reference.streams import set_stream_state, stream_state


class Perception:
    """Sensor parameters, noise stream `rd` and last observation.

    Attributes `range` (m), `angle` (full sector, rad), `max_obj_num`, `pos_std` (m), `vel_std` (m/s),
    `r_kappa` and `r_mean_ratio` may change at any time. `observed_obs` and `observed_objs` hold the indices
    of the detected obstacles and robots, `observation` the last self state and all detected objects.
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

    def detects(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc at a position in the body frame (m) lies within range and sector."""
        if sqrt(x * x + y * y) > self.range + radius:
            return False
        half_angle = self.angle / 2
        bearing = atan2(y, x)
        return not (bearing < -half_angle or bearing > half_angle)  # a NaN is neither: it is detected

    def forget(self) -> None:
        """Make room for the next look."""
        for past in (self.observation["objects"], self.observed_obs, self.observed_objs):
            past.clear()

    def nearest(self, own_r: float) -> list[list[float]]:
        """Copies of the `max_obj_num` detected objects of smallest gap, ascending; ties keep their order.

        Quirk W18: entries are read as body-frame ones, so in the world frame they rank from the world origin.
        """

        def gap(entry: list[float]) -> float:
            x, y, _, _, radius = entry
            return sqrt(x * x + y * y) - radius - own_r

        ranked = sorted(self.observation["objects"], key=gap)
        return [entry.copy() for entry in ranked[: max(self.max_obj_num, 0)]]

    def state_dict(self) -> dict[str, Any]:
        """Parameters, last look and noise stream as plain data, not copied."""
        return {**vars(self), "rd": stream_state(self.rd)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a `state_dict`, which the sensor keeps and writes into."""
        vars(self).update({key: value for key, value in state.items() if key != "rd"})
        set_stream_state(self.rd, state["rd"])
