"""A vessel that senses its surroundings and follows the traffic rules (environment spec 7 and 8)."""

from collections.abc import Iterator, Sequence
from math import asin, atan2, cos, nan, pi, sin, sqrt
from typing import Any

import numpy as np

from marinenav_env.envs.contract.constants import (
    HEAD_ON_LENGTH,
    HEAD_ON_WIDTH,
    LEFT_CROSSING_X,
    LEFT_CROSSING_Y_FRONT,
    PASSING_MARGIN,
    STATIC_SPEED,
)
from marinenav_env.envs.reference.perception import Perception
from marinenav_env.envs.reference.vessel import TWO_PI, Vessel

__all__ = ["Perception", "Robot"]

Pair = Sequence[float]


class Robot(Vessel):
    """A vessel with a sensor. `apply_COLREGs` and `phi` do not exist before the look that first sets them.

    Args:
        seed: seed of the sensor noise.
    """

    head_on_zone_x_dim = HEAD_ON_LENGTH
    head_on_zone_y_dim = HEAD_ON_WIDTH

    phi: float
    apply_COLREGs: bool

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.perception = Perception(seed)
        self.left_crossing_zone_x_dim = np.array(LEFT_CROSSING_X)
        self.left_crossing_zone_y_dim_front = np.array(LEFT_CROSSING_Y_FRONT)

    # ---- perception -------------------------------------------------------------------------------------

    def perception_output(
        self, obstacles: Sequence[Any], robots: Sequence["Robot"], in_robot_frame: bool = True
    ) -> tuple[tuple[list[float] | None, list[list[float]] | None], bool, bool]:
        """Look around, update flags and COLREGs (environment spec 7).

        A deactivated robot sees nothing, draws no noise and keeps its stale values.

        Args:
            obstacles: discs with `x`, `y`, `r`.
            robots: all robots; itself and the deactivated ones are not seen (Quirk W17: finished ones are).
            in_robot_frame: frame of the observation. Quirk W14: in the world frame the state has no heading.

        Returns:
            ((self state of 7 or 9 floats, up to `max_obj_num` objects [x, y, vx, vy, radius], nearest first),
            collision, reach_goal). Both lists are copies; None for a deactivated robot.
        """
        if self.deactivated:
            return (None, None), self.collision, self.reach_goal
        perception = self.perception
        perception.observation["self"] = self._self_state(in_robot_frame)
        for past in (perception.observation["objects"], perception.observed_obs, perception.observed_objs):
            past.clear()
        self.check_reach_goal()
        for i, obstacle in enumerate(obstacles):
            if self._sense(obstacle.x, obstacle.y, 0.0, 0.0, obstacle.r, in_robot_frame):
                perception.observed_obs.append(i)
        for i, other in self._visible(robots):
            vx, vy = float(other.velocity[0]), float(other.velocity[1])
            if self._sense(other.x, other.y, vx, vy, other.r, in_robot_frame):
                perception.observed_objs.append(i)
        nearest = self._nearest_objects()
        self.apply_COLREGs = any(map(self.check_apply_COLREGs, nearest))
        return (perception.observation["self"].copy(), nearest), self.collision, self.reach_goal

    def _visible(self, robots: Sequence["Robot"]) -> Iterator[tuple[int, "Robot"]]:
        return ((i, other) for i, other in enumerate(robots) if other is not self and not other.deactivated)

    def _self_state(self, in_robot_frame: bool) -> list[float]:
        """Own state without noise (environment spec 7.1)."""
        vx, vy, yaw_rate = map(float, self.velocity)
        goal_x, goal_y = float(self.goal[0]), float(self.goal[1])
        thrusts = (self.left_thrust, self.right_thrust)
        if not in_robot_frame:
            return [self.x, self.y, vx, vy, yaw_rate, *thrusts, goal_x, goal_y]
        goal = self._to_body(goal_x - self.x, goal_y - self.y)
        return [*goal, *self._to_body(vx, vy), yaw_rate, *thrusts]

    def _sense(self, x: float, y: float, vx: float, vy: float, radius: float, in_robot_frame: bool) -> bool:
        """Look at one object, given by its true values; note it if detected (environment spec 7.2).

        Noise is drawn for every object. Quirk W15: what is not detected does not collide.
        """
        perception = self.perception
        px, py = perception.pos_observation(x, y)
        wx, wy = perception.vel_observation(vx, vy)
        sensed_radius = perception.r_observation(radius)
        a, b = self._to_body(px - self.x, py - self.y)
        if not self._in_sensor_sector(a, b, sensed_radius):
            return False
        if not self.collision:
            self.check_collision(x, y, radius)
        if in_robot_frame:
            px, py, (wx, wy) = a, b, self._to_body(wx, wy)
        perception.observation["objects"].append([px, py, wx, wy, sensed_radius])
        return True

    def check_detection(self, obj_x: float, obj_y: float, obj_r: float) -> bool:
        """Whether a disc at a world position (noisy, m) lies within range and sector of the sensor."""
        return self._in_sensor_sector(*self._to_body(obj_x - self.x, obj_y - self.y), obj_r)

    def _in_sensor_sector(self, a: float, b: float, radius: float) -> bool:
        if sqrt(a * a + b * b) > self.perception.range + radius:
            return False
        half_angle = self.perception.angle / 2
        bearing = atan2(b, a)
        return not (bearing < -half_angle or bearing > half_angle)  # a NaN is neither: it is detected

    def check_collision(self, obj_x: float, obj_y: float, obj_r: float) -> None:
        """Set `collision` if the own disc touches a true object. Quirk W16: only a reset clears it."""
        if self.compute_distance(obj_x, obj_y, obj_r) <= 0.0:
            self.collision = True

    def compute_distance(self, x: float, y: float, r: float, in_robot_frame: bool = False) -> float:
        """Gap between the own disc and one of radius `r` at (x, y), negative where they overlap (m)."""
        if not in_robot_frame:
            x, y = self.x - x, self.y - y
        return sqrt(x * x + y * y) - r - self.r

    def _nearest_objects(self) -> list[list[float]]:
        """Copies of the `max_obj_num` nearest detected objects, ascending; ties keep their order.

        Quirk W18: entries are read as body-frame ones, so in the world frame they rank from the world origin.
        """

        def gap(entry: list[float]) -> float:
            return self.compute_distance(entry[0], entry[1], entry[4], in_robot_frame=True)

        ranked = sorted(self.perception.observation["objects"], key=gap)
        return [entry.copy() for entry in ranked[: self.perception.max_obj_num]]

    # ---- COLREGs ----------------------------------------------------------------------------------------

    def check_apply_COLREGs(self, obj: Sequence[float]) -> bool:
        """Whether a target obliges the vessel to turn to starboard (environment spec 8.2).

        Args:
            obj: object entry [px, py, wx, wy, radius], body frame.
        """
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
        """Own position and velocity in the frame of a target: origin at it, x along its velocity.

        Args:
            vehicle: object entry [px, py, wx, wy, radius], body frame.

        Returns:
            Position (2,) m and velocity (2,) m/s.
        """
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
        return self._to_body(float(self.velocity[0]), float(self.velocity[1]))

    def check_in_left_crossing_zone(self, ego_p_proj: Pair, ego_v_proj: Pair) -> bool:
        """Whether the vessel is about to cross ahead of a target from its port side (environment spec 8.2).

        Args:
            ego_p_proj: own position in the target frame (m).
            ego_v_proj: own velocity in the target frame (m/s).
        """
        X, Y = ego_p_proj
        x0, x1 = map(float, self.left_crossing_zone_x_dim)
        y0, y1 = map(float, self.left_crossing_zone_y_dim_front)
        in_box = x0 <= X <= x1 and y0 <= Y <= 0.0
        if not in_box or Y - y1 > y1 / x1 * (X - x1):
            return False
        return pi / 4 <= atan2(ego_v_proj[1], ego_v_proj[0]) <= 3 * pi / 4

    def check_in_head_on_zone(self, ego_p_proj: Pair, ego_v_proj: Pair) -> bool:
        """Whether the vessel meets a target head-on (environment spec 8.2).

        Args:
            ego_p_proj: own position in the target frame (m).
            ego_v_proj: own velocity in the target frame (m/s).
        """
        X, Y = ego_p_proj
        half_width = 0.5 * self.head_on_zone_y_dim
        in_box = 0.0 <= X <= self.head_on_zone_x_dim and -half_width <= Y <= half_width
        return bool(in_box and abs(atan2(ego_v_proj[1], ego_v_proj[0])) > 3 * pi / 4)

    def compute_COLREGs_turn_angle(self, obj: Sequence[float]) -> None:
        """Set `phi`, the turn to starboard (rad) that leaves a target to port (environment spec 8.3).

        Quirk W19: NaN within the passing margin. Quirk W20: turns of pi or more come out negative.

        Args:
            obj: object entry [px, py, wx, wy, radius], body frame.
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
