"""One vessel: its state, motion, goal and what it senses of its surroundings (environment spec 6, 7, 8).

All scalars are plain Python floats: at three degrees of freedom an array costs ten times its arithmetic.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import asin, atan2, cos, nan, pi, sin, sqrt
from typing import Any

import numpy as np

from marinenav_env.envs.utils.perception import Perception

__all__ = ["Perception", "Robot"]

TWO_PI = 2.0 * pi
CONTINUOUS_THRUST_RATE = 1000.0
"""Thrust rate of a full continuous command (N/s), whatever the discrete thrust-change lists hold."""
STATIC_SPEED = 0.5
"""Below this speed (m/s) neither an object nor the own vessel takes part in COLREGs (environment spec 8.2)."""

Current = Callable[[float, float], tuple[float, float, float]]
Pair = Sequence[float]


def wrap_to_pi(angle: float) -> float:
    """Bring an angle (rad) into [-pi, pi); +pi maps to -pi and NaN passes through (environment spec 2)."""
    while angle < -pi:
        angle += TWO_PI
    while angle >= pi:
        angle -= TWO_PI
    return angle


class Robot:
    """Surface vessel with two thrusters at the stern, its parameters, state, flags and histories.

    World frame: x north, y east (m), yaw `theta` clockwise seen from above (rad). Body frame: forward,
    starboard. Lengths in m, forces in N, SI throughout. `phi` and `apply_COLREGs` do not exist before the
    first perception that sets them.

    Args:
        seed: seed of the sensor noise.
    """

    dt = 0.05
    N = 10
    length = 5.0
    width = 2.5
    detect_r = 0.5 * sqrt(length**2 + width**2)
    r = detect_r
    goal_dis = 2.0
    power_coefficient = 1.0
    min_thrust = -500.0
    max_thrust = 1000.0
    safe_dis = 10.0
    max_angular_speed = pi / 3
    goal_angluar_speed = pi / 12

    # Rigid body and hydrodynamic coefficients. Quirk Q13: xDotU is positive, surge inertia is below the dry mass.
    m = 400
    Izz = 450
    xDotU, yDotV, yDotR, nDotR, nDotV = 20, 0, 0, -980, 0
    xU, xUU = -100, -150
    yV, yVV, yR, yRV, yVR, yRR = -100, -150, 0, 0, 0, 0
    nR, nRR, nV, nVV, nRV, nVR = -980, -950, 0, 0, 0, 0

    head_on_zone_x_dim = 17.0
    head_on_zone_y_dim = 9.0

    # Drawing only; they belong to the default hull and do not follow a loaded length or width.
    hull_width = 0.2 * width
    hull_tip_length = 0.25 * length
    hull_tip_width = 0.5 * hull_width
    hull_rear_length = 0.2 * length
    hull_rear_width = 0.8 * hull_width
    thruster_gap = 0.02 * length
    thruster_length = 0.1 * length
    thruster_tip_width = 0.6 * hull_rear_width
    thruster_rear_width = 0.75 * hull_rear_width
    beam_length = width - hull_width
    beam_width = 0.2 * hull_width
    beam_distance = 0.3 * length
    beam_base_length = 0.5 * length
    beam_base_width = 0.5 * hull_width
    platform_length = 0.4 * length
    platform_width = 0.45 * width

    phi: float
    apply_COLREGs: bool

    def __init__(self, seed: int = 0) -> None:
        self.perception = Perception(seed)

        self.left_thrust_change = np.array([0.0, -500.0, -1000.0, 500.0, 1000.0])
        self.right_thrust_change = self.left_thrust_change.copy()
        self.left_crossing_zone_x_dim = np.array([-9.0, 12.0])
        self.left_crossing_zone_y_dim_front = np.array([-17.0, -7.0])
        self.compute_actions()
        self.compute_constant_matrices()

        self.init_theta = 0.0
        self.init_velocity_r = np.zeros(3)
        self.init_left_pos = 0.0
        self.init_right_pos = 0.0
        self.init_left_thrust = 0.0
        self.init_right_thrust = 0.0

        self.start = self.goal = None
        self.x = self.y = self.theta = None
        self.velocity_r = self.velocity = None
        self.left_pos = self.right_pos = None
        self.left_thrust = self.right_thrust = None

        self.collision = False
        self.reach_goal = False
        self.deactivated = False

        self.observation_history: list[list[Any]] = []
        self.action_history: list[Any] = []
        self.trajectory: list[list[float]] = []

    # ---- actions and parameters -------------------------------------------------------------------------

    def compute_actions(self) -> None:
        """Set `actions`, all pairs of (left, right) thrust change (N/s), left being the outer loop."""
        self.actions = list(product(self.left_thrust_change.tolist(), self.right_thrust_change.tolist()))

    def compute_actions_dimension(self) -> int:
        """Number of discrete actions."""
        return len(self.actions)

    def compute_constant_matrices(self) -> None:
        """Set rigid-body mass, added mass and linear damping `M_RB`, `M_A`, `D`, each (3, 3), float64."""
        self.M_RB = np.diag([float(self.m), self.m, self.Izz])
        self.M_A = -np.array(
            [[self.xDotU, 0.0, 0.0], [0.0, self.yDotV, self.yDotR], [0.0, self.nDotV, self.nDotR]]
        )
        self.D = -np.array([[self.xU, 0.0, 0.0], [0.0, self.yV, self.yR], [0.0, self.nV, self.nR]])

    def compute_step_energy_cost(self) -> float:
        """Energy of a step at the thrusts now in force (N s), environment spec 6.5."""
        power = self.power_coefficient * abs(self.left_thrust) + self.power_coefficient * abs(
            self.right_thrust
        )
        return power * self.dt * self.N

    # ---- goal and small queries -------------------------------------------------------------------------

    def dist_to_goal(self) -> float:
        """Distance from the true position to the goal (m)."""
        dx = float(self.goal[0]) - self.x
        dy = float(self.goal[1]) - self.y
        return sqrt(dx * dx + dy * dy)

    def check_reach_goal(self) -> None:
        """Set `reach_goal` within `goal_dis` of the goal. Quirk Q16: nothing but a reset clears it."""
        if self.dist_to_goal() <= self.goal_dis:
            self.reach_goal = True

    def check_over_spin(self) -> bool:
        """Whether the yaw rate exceeds `max_angular_speed`."""
        return bool(abs(self.velocity[2]) > self.max_angular_speed)

    # ---- state and motion -------------------------------------------------------------------------------

    def reset_state(self, current_velocity: Sequence[float] | np.ndarray = np.zeros(3)) -> None:  # noqa: B008
        """Go to the initial condition, clear the histories and write trajectory row 0.

        Args:
            current_velocity: current at the start, world frame, (3,) m/s.
        """
        self.observation_history.clear()
        self.action_history.clear()
        self.trajectory.clear()
        self.x, self.y = float(self.start[0]), float(self.start[1])
        self.theta = self.init_theta
        self.velocity_r = self.init_velocity_r
        self.update_velocity(current_velocity)
        self.left_pos, self.right_pos = self.init_left_pos, self.init_right_pos
        self.left_thrust, self.right_thrust = self.init_left_thrust, self.init_right_thrust
        self.record_trajectory()

    def record_trajectory(self) -> None:
        """Append the 13 entries of environment spec 13.4 to `trajectory`."""
        thrusters = [self.left_pos, self.right_pos, self.left_thrust, self.right_thrust]
        velocities = [*map(float, self.velocity_r), *map(float, self.velocity)]
        self.trajectory.append([self.x, self.y, self.theta, *velocities, *thrusters])

    def update_velocity(self, current_velocity: Sequence[float] | np.ndarray = np.zeros(3)) -> None:  # noqa: B008
        """Set the velocity over ground from `velocity_r` and the current, world frame, (3,)."""
        self.velocity = self.velocity_r + np.asarray(current_velocity, dtype=float)

    def update_state(
        self,
        action: Any,
        current_velocity: Sequence[float] | np.ndarray = np.zeros(3),  # noqa: B008
        is_new_action: bool = False,
        is_continuous_action: bool = True,
    ) -> None:
        """Advance by one sub-step of `dt` (environment spec 6.2).

        Args:
            action: two commands in [-1, 1] or an index into `actions`; read only if `is_new_action`.
            current_velocity: current at the present position, world frame, (3,).
            is_new_action: whether the thrusts change in this sub-step.
            is_continuous_action: how to read `action`.
        """
        current = tuple(map(float, current_velocity))
        if is_new_action:
            self.apply_action(action, is_continuous_action)
        self.advance(lambda x, y: current, 1)

    def execute(self, action: Any, current_at: Current, is_continuous_action: bool = True) -> None:
        """Carry out one environment step: the new thrusts, then `N` sub-steps (environment spec 6.1).

        Args:
            action: two commands in [-1, 1] or an index into `actions`.
            current_at: gives the current (vx, vy, yaw rate) at a position (x, y), world frame.
            is_continuous_action: how to read `action`.
        """
        self.apply_action(action, is_continuous_action)
        self.advance(current_at, self.N)

    def apply_action(self, action: Any, is_continuous_action: bool = True) -> None:
        """Change both thrusts, once for a whole step (Quirk Q11), within the thrust limits.

        Args:
            action: (left, right) commands, nominally in [-1, 1] and not clipped, or an index into `actions`.
            is_continuous_action: how to read `action`.
        """
        if is_continuous_action:
            left, right = CONTINUOUS_THRUST_RATE * float(action[0]), CONTINUOUS_THRUST_RATE * float(action[1])
        else:
            left, right = self.actions[action]
        self.left_thrust = self._within_limits(self.left_thrust + left * self.dt * self.N)
        self.right_thrust = self._within_limits(self.right_thrust + right * self.dt * self.N)

    def _within_limits(self, thrust: float) -> float:
        return min(max(thrust, self.min_thrust), self.max_thrust)

    def advance(self, current_at: Current, substeps: int) -> None:
        """Integrate position, yaw and velocity over `substeps` of `dt` at constant thrust.

        Quirk Q12: `velocity` is left as the one that moved the vessel in the last sub-step.

        Args:
            current_at: gives the current (vx, vy, yaw rate) at a position (x, y), world frame.
            substeps: number of sub-steps, at least one.
        """
        dt, motion = self.dt, self._motion()
        x, y, theta = self.x, self.y, self.theta
        wx, wy, yaw_rate = map(float, self.velocity_r)
        for _ in range(substeps):
            cx, cy, cr = current_at(x, y)
            gx, gy, yaw_rate = wx + cx, wy + cy, yaw_rate + cr
            ground_yaw_rate = yaw_rate
            x += gx * dt
            y += gy * dt
            theta += yaw_rate * dt
            while theta < 0.0:
                theta += TWO_PI
            while theta >= TWO_PI:
                theta -= TWO_PI
            wx, wy, yaw_rate = motion(theta, wx, wy, gx, gy, yaw_rate)
        self.x, self.y, self.theta = x, y, theta
        self.velocity = np.array((gx, gy, ground_yaw_rate))
        self.velocity_r = np.array((wx, wy, yaw_rate))

    def compute_motion(self) -> None:
        """Set `velocity_r`, a new array (3,), from the present yaw, thrusts and velocities (environment spec 6.4).

        Raises:
            numpy.linalg.LinAlgError: the inertia matrix `M_RB + M_A` is singular.
        """
        wx, wy, _ = map(float, self.velocity_r)
        self.velocity_r = np.array(self._motion()(self.theta, wx, wy, *map(float, self.velocity)))

    def _motion(self) -> Callable[..., tuple[float, float, float]]:
        """Bind the equation of motion to the present parameters and thrusts.

        Returns:
            Function of yaw, velocity relative to the water (2), velocity over ground (2), both world frame, and
            yaw rate, that gives `velocity_r` one `dt` later.
        """
        dt, m = self.dt, self.m
        (a11, _, _), (_, a22, a23), (_, a32, a33) = (self.M_RB + self.M_A).tolist()
        (d11, _, _), (_, d22, d23), (_, d32, d33) = self.D.tolist()
        determinant = a22 * a33 - a23 * a32
        if a11 == 0.0 or determinant == 0.0:
            raise np.linalg.LinAlgError(
                f"Singular inertia matrix M_RB + M_A: {(self.M_RB + self.M_A).tolist()}"
            )
        xDotU, yDotV, yDotR = self.xDotU, self.yDotV, self.yDotR
        xUU, yVV, yRV, yVR, yRR = self.xUU, self.yVV, self.yRV, self.yVR, self.yRR
        nVV, nRV, nVR, nRR = self.nVV, self.nRV, self.nVR, self.nRR
        surge_force, sway_force, yaw_moment = self._propulsion()

        def motion(
            theta: float, wx: float, wy: float, gx: float, gy: float, r: float
        ) -> tuple[float, float, float]:
            c, s = cos(theta), sin(theta)
            u_r, v_r = c * wx + s * wy, c * wy - s * wx
            u, v = c * gx + s * gy, c * gy - s * gx
            abs_v, abs_r = abs(v_r), abs(r)
            mu = yDotV * v_r + yDotR * r
            surge = m * r * v - mu * r - (d11 - xUU * abs(u_r)) * u_r + surge_force
            sway = (
                xDotU * u_r * r
                - m * r * u
                - (d22 - yVV * abs_v - yRV * abs_r) * v_r
                - (d23 - yVR * abs_v - yRR * abs_r) * r
                + sway_force
            )
            yaw = (
                mu * u_r
                - xDotU * u_r * v_r
                - (d32 - nVV * abs_v - nRV * abs_r) * v_r
                - (d33 - nVR * abs_v - nRR * abs_r) * r
                + yaw_moment
            )
            u_r += dt * surge / a11
            v_r += dt * (a33 * sway - a23 * yaw) / determinant
            r += dt * (a22 * yaw - a32 * sway) / determinant
            return c * u_r - s * v_r, s * u_r + c * v_r, r

        return motion

    def _propulsion(self) -> tuple[float, float, float]:
        """Surge force (N), sway force (N) and yaw moment (N m) of the two thrusters."""
        left_x, left_y = self.left_thrust * cos(self.left_pos), self.left_thrust * sin(self.left_pos)
        right_x, right_y = self.right_thrust * cos(self.right_pos), self.right_thrust * sin(self.right_pos)
        moment = (left_x - right_x) * self.width / 2 - (left_y + right_y) * self.length / 2
        return left_x + right_x, left_y + right_y, moment

    # ---- frames and distances ---------------------------------------------------------------------------

    def get_robot_transform(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation body to world, (2, 2), and position, (2, 1) m."""
        c, s = cos(self.theta), sin(self.theta)
        return np.array([[c, -s], [s, c]]), np.array([[self.x], [self.y]])

    def project_to_robot_frame(self, x: np.ndarray, is_vector: bool = True) -> np.ndarray:
        """Express a world vector, or a world point, in the body frame.

        Args:
            x: two components, (2,).
            is_vector: False for a point.

        Returns:
            The body-frame components, (2,) float64.

        Raises:
            AssertionError: `x` is no array, or not of shape (2,).
        """
        if not isinstance(x, np.ndarray):
            raise AssertionError("the input needs to be an numpy array")
        if x.shape != (2,):
            raise AssertionError(f"x: the shape needs to be (2,), not {x.shape}")
        a, b = map(float, x)
        return np.array(self._to_body(a, b) if is_vector else self._to_body(a - self.x, b - self.y))

    def _to_body(self, a: float, b: float) -> tuple[float, float]:
        c, s = cos(self.theta), sin(self.theta)
        return c * a + s * b, c * b - s * a

    def compute_distance(self, x: float, y: float, r: float, in_robot_frame: bool = False) -> float:
        """Gap between the own disc and a disc of radius `r` at (x, y), negative where they overlap (m)."""
        if not in_robot_frame:
            x, y = self.x - x, self.y - y
        return sqrt(x * x + y * y) - r - self.r

    def check_collision(self, obj_x: float, obj_y: float, obj_r: float) -> None:
        """Set `collision` if the own disc touches that of a true object. Quirk Q16: only a reset clears it."""
        if self.compute_distance(obj_x, obj_y, obj_r) <= 0.0:
            self.collision = True

    # ---- perception -------------------------------------------------------------------------------------

    def check_detection(self, obj_x: float, obj_y: float, obj_r: float) -> bool:
        """Whether a disc at a world position (noisy, m) lies within range and sector of the sensor."""
        return self._in_sensor_sector(*self._to_body(obj_x - self.x, obj_y - self.y), obj_r)

    def _in_sensor_sector(self, a: float, b: float, radius: float) -> bool:
        half_angle = self.perception.angle / 2
        return (
            sqrt(a * a + b * b) <= self.perception.range + radius and -half_angle <= atan2(b, a) <= half_angle
        )

    def perception_output(
        self, obstacles: Sequence[Any], robots: Sequence["Robot"], in_robot_frame: bool = True
    ) -> tuple[tuple[list[float] | None, list[list[float]] | None], bool, bool]:
        """Sense the surroundings, update flags and COLREGs (environment spec 7 and 8).

        A deactivated robot senses nothing, draws no noise and keeps its stale values.

        Args:
            obstacles: discs with `x`, `y`, `r`.
            robots: all robots; itself and the deactivated ones are not seen.
            in_robot_frame: frame of the observation. Quirk Q14: without it there is no heading in the state.

        Returns:
            ((self state of 7 or 9 floats, up to `max_obj_num` objects [x, y, vx, vy, radius], nearest first),
            collision, reach_goal). Both lists are copies; None for a deactivated robot.
        """
        if self.deactivated:
            return (None, None), self.collision, self.reach_goal
        perception = self.perception
        state = perception.observation["self"] = self._self_state(in_robot_frame)
        perception.observation["objects"].clear()
        perception.observed_obs.clear()
        perception.observed_objs.clear()
        self.check_reach_goal()
        for i, obstacle in enumerate(obstacles):
            if self._sense(obstacle.x, obstacle.y, 0.0, 0.0, obstacle.r, in_robot_frame):
                perception.observed_obs.append(i)
        for i, other in enumerate(robots):
            if other is self or other.deactivated:
                continue
            vx, vy = float(other.velocity[0]), float(other.velocity[1])
            if self._sense(other.x, other.y, vx, vy, other.r, in_robot_frame):
                perception.observed_objs.append(i)
        nearest = [list(entry) for entry in self._nearest(perception.observation["objects"])]
        self.apply_COLREGs = any(map(self.check_apply_COLREGs, nearest))
        return (list(state), nearest), self.collision, self.reach_goal

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
        """Take a noisy look at one object and note it if detected; true values in, whether detected out.

        Noise is drawn for every object, seen or not. Quirk Q15: undetected objects are not tested for collision.
        """
        perception = self.perception
        sx, sy, su, sv = perception.motion_observation(x, y, vx, vy)
        sensed_radius = perception.r_observation(radius)
        a, b = self._to_body(sx - self.x, sy - self.y)
        if not self._in_sensor_sector(a, b, sensed_radius):
            return False
        if not self.collision:
            self.check_collision(x, y, radius)
        motion = [a, b, *self._to_body(su, sv)] if in_robot_frame else [sx, sy, su, sv]
        perception.observation["objects"].append([*motion, sensed_radius])
        return True

    def _nearest(self, objects: list[list[float]]) -> list[list[float]]:
        """The `max_obj_num` nearest, in ascending order; ties keep their order.

        Quirk Q18: entries are taken as body-frame ones, so in the world frame they rank from the world origin.
        """
        ranked = sorted(objects, key=lambda entry: self.compute_distance(entry[0], entry[1], entry[4], True))
        return ranked[: self.perception.max_obj_num]

    # ---- COLREGs ----------------------------------------------------------------------------------------

    def _ego_velocity(self) -> tuple[float, float]:
        return self._to_body(float(self.velocity[0]), float(self.velocity[1]))

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
        px, py, wx, wy = vehicle[:4]
        ex, ey = self._ego_velocity()
        course = atan2(wy, wx)
        c, s = cos(course), sin(course)
        return (-(c * px + s * py), -(c * py - s * px)), (c * ex + s * ey, c * ey - s * ex)

    def check_in_left_crossing_zone(self, ego_p_proj: Pair, ego_v_proj: Pair) -> bool:
        """Whether the own vessel crosses a target from its port side (environment spec 8.2).

        Args:
            ego_p_proj: own position in the target frame (m).
            ego_v_proj: own velocity in the target frame (m/s).
        """
        X, Y = ego_p_proj
        x0, x1 = self.left_crossing_zone_x_dim
        y0, y1 = self.left_crossing_zone_y_dim_front
        if not (x0 <= X <= x1 and y0 <= Y <= 0.0) or Y - y1 > y1 / x1 * (X - x1):
            return False
        return bool(pi / 4 <= atan2(ego_v_proj[1], ego_v_proj[0]) <= 3 * pi / 4)

    def check_in_head_on_zone(self, ego_p_proj: Pair, ego_v_proj: Pair) -> bool:
        """Whether the own vessel meets a target head-on (environment spec 8.2); arguments as in left crossing."""
        X, Y = ego_p_proj
        half_width = 0.5 * self.head_on_zone_y_dim
        if not (0.0 <= X <= self.head_on_zone_x_dim and -half_width <= Y <= half_width):
            return False
        return bool(abs(atan2(ego_v_proj[1], ego_v_proj[0])) > 3 * pi / 4)

    def compute_COLREGs_turn_angle(self, obj: Sequence[float]) -> None:
        """Set `phi`, the starboard turn (rad) that passes a target to port with 1 m to spare (environment spec 8.3).

        Quirk Q19: NaN closer than that margin. Quirk Q20: turns of pi or more come out negative.

        Args:
            obj: object entry [px, py, wx, wy, radius], body frame.
        """
        px, py, margin = obj[0], obj[1], obj[4] + 1.0
        ex, ey = self._ego_velocity()
        distance = sqrt(px * px + py * py)
        if distance == 0.0 or distance < abs(margin):
            self.phi = nan
            return
        tangent = sqrt(distance * distance - margin * margin)
        course = wrap_to_pi(atan2(py, px) + asin(margin / distance) + atan2(self.r, tangent))
        self.phi = wrap_to_pi(course - atan2(ey, ex))

    def check_apply_COLREGs(self, obj: Sequence[float]) -> bool:
        """Whether a target obliges the own vessel to turn to starboard (environment spec 8.2).

        Args:
            obj: object entry [px, py, wx, wy, radius], body frame.
        """
        if sqrt(obj[2] * obj[2] + obj[3] * obj[3]) < STATIC_SPEED:
            return False
        ex, ey = self._ego_velocity()
        if sqrt(ex * ex + ey * ey) < STATIC_SPEED:
            return False
        position, velocity = self._ego_in_vehicle_frame(obj)
        if not (
            self.check_in_left_crossing_zone(position, velocity)
            or self.check_in_head_on_zone(position, velocity)
        ):
            return False
        self.compute_COLREGs_turn_angle(obj)
        return self.phi > 0.0

    def wrap_to_pi(self, angle_in: float) -> float:
        """Bring an angle (rad) into [-pi, pi)."""
        return wrap_to_pi(angle_in)
