"""COLREGs of one vessel (environment spec 8): whether it must turn to starboard, and by how much."""

from collections.abc import Sequence
from math import asin, atan2, cos, nan, pi, sin, sqrt

import numpy as np

from marinenav_env.envs.contract.constants import (
    HEAD_ON_LENGTH,
    HEAD_ON_WIDTH,
    LEFT_CROSSING_X,
    LEFT_CROSSING_Y_FRONT,
    PASSING_MARGIN,
    STATIC_SPEED,
)
from marinenav_env.envs.reference.vessel import TWO_PI, Vessel

Pair = Sequence[float]


class TrafficVessel(Vessel):
    """A vessel that knows the traffic rules. `phi` does not exist before the first encounter.

    Objects are entries [px, py, wx, wy, radius] in its body frame, a target's frame has its origin at the
    target and its x axis along the target's velocity; m and m/s.
    """

    head_on_zone_x_dim = HEAD_ON_LENGTH
    head_on_zone_y_dim = HEAD_ON_WIDTH

    phi: float

    def __init__(self) -> None:
        super().__init__()
        self.left_crossing_zone_x_dim = np.array(LEFT_CROSSING_X)
        self.left_crossing_zone_y_dim_front = np.array(LEFT_CROSSING_Y_FRONT)

    def check_apply_COLREGs(self, obj: Sequence[float]) -> bool:
        """Whether an object obliges the vessel to turn to starboard; sets `phi` where they meet."""
        if sqrt(obj[2] * obj[2] + obj[3] * obj[3]) < STATIC_SPEED:
            return False
        ex, ey = self._ego_velocity()
        if sqrt(ex * ex + ey * ey) < STATIC_SPEED:
            return False
        ego = self._ego_in_vehicle_frame(obj)
        if not (self.check_in_left_crossing_zone(*ego) or self.check_in_head_on_zone(*ego)):
            return False
        self.compute_COLREGs_turn_angle(obj)
        return self.phi > 0.0

    def project_ego_to_vehicle_frame(self, vehicle: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Own position (2,) and velocity (2,) in the frame of a target, an object entry."""
        position, velocity = self._ego_in_vehicle_frame(vehicle)
        return np.array(position), np.array(velocity)

    def _ego_in_vehicle_frame(self, vehicle: Sequence[float]) -> tuple[Pair, Pair]:
        px, py, wx, wy, _ = vehicle
        ex, ey = self._ego_velocity()
        course = atan2(wy, wx)
        c, s = cos(course), sin(course)
        return (-(c * px + s * py), -(c * py - s * px)), (c * ex + s * ey, c * ey - s * ex)

    def _ego_velocity(self) -> tuple[float, float]:
        """Velocity over ground in the body frame, true but lagging (Quirk W12)."""
        try:
            vx, vy, _ = self.velocity.tolist()
        except AttributeError:
            raise TypeError(f"velocity is {self.velocity} before a reset") from None
        return self._to_body(vx, vy)

    def check_in_left_crossing_zone(self, ego_p_proj: Pair, ego_v_proj: Pair) -> bool:
        """Whether own position and velocity, in the frame of a target, cross ahead of it from port."""
        X, Y = ego_p_proj
        x0, x1 = map(float, self.left_crossing_zone_x_dim)
        y0, y1 = map(float, self.left_crossing_zone_y_dim_front)
        in_box = x0 <= X <= x1 and y0 <= Y <= 0.0
        if not in_box or Y - y1 > y1 / x1 * (X - x1):
            return False
        return pi / 4 <= atan2(ego_v_proj[1], ego_v_proj[0]) <= 3 * pi / 4

    def check_in_head_on_zone(self, ego_p_proj: Pair, ego_v_proj: Pair) -> bool:
        """Whether own position and velocity, in the frame of a target, meet it head-on."""
        X, Y = ego_p_proj
        half_width = 0.5 * self.head_on_zone_y_dim
        in_box = 0.0 <= X <= self.head_on_zone_x_dim and -half_width <= Y <= half_width
        return bool(in_box and abs(atan2(ego_v_proj[1], ego_v_proj[0])) > 3 * pi / 4)

    def compute_COLREGs_turn_angle(self, obj: Sequence[float]) -> None:
        """Set `phi`, the turn to starboard (rad) that leaves an object to port (environment spec 8.3).

        Quirk W19: NaN within the passing margin. Quirk W20: turns of pi or more come out negative.
        """
        px, py, radius = obj[0], obj[1], obj[4] + PASSING_MARGIN
        distance = sqrt(px * px + py * py)
        if distance == 0.0 or distance < abs(radius):
            self.phi = nan
            return
        tangent = sqrt(distance * distance - radius * radius)
        course = atan2(py, px) + asin(radius / distance) + atan2(self.r, tangent)
        ex, ey = self._ego_velocity()
        self.phi = self.wrap_to_pi(self.wrap_to_pi(course) - atan2(ey, ex))

    def wrap_to_pi(self, angle_in: float) -> float:
        """Bring an angle (rad) into [-pi, pi); +pi maps to -pi, NaN passes through (environment spec 2)."""
        while angle_in < -pi:
            angle_in += TWO_PI
        while angle_in >= pi:
            angle_in -= TWO_PI
        return angle_in
