"""A vessel with two thrusters: parameters, state, motion and goal (environment spec 1.2, 2 and 6).

All scalars are plain Python floats: at three degrees of freedom an array costs ten times its arithmetic.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import cos, isfinite, pi, sin, sqrt
from typing import Any

import numpy as np

from marinenav_env.envs.contract.constants import CONTINUOUS_THRUST_RATE, THRUST_CHANGES
from marinenav_env.envs.reference.current import NO_CURRENT, Current

TWO_PI = 2.0 * pi

Rates = tuple[float, float]
"""Rates of change of the left and the right thrust (N/s)."""
Vector = Sequence[float] | np.ndarray


class Vessel:
    """Surface vessel with two thrusters at the stern: parameters, state, flags and histories.

    SI units. World frame: x north, y east, yaw `theta` clockwise seen from above. Body frame: forward,
    starboard. `velocity_r` (through the water) and `velocity` (over ground) are world-frame arrays (3,):
    two linear components and the yaw rate. State is None until `reset_state`; using it raises TypeError.
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

    # Quirk W13: xDotU is positive, so that surge inertia is below the dry mass.
    m, Izz = 400, 450
    xDotU, yDotV, yDotR, nDotR, nDotV = 20, 0, 0, -980, 0
    xU, xUU = -100, -150
    yV, yVV, yR, yRV, yVR, yRR = -100, -150, 0, 0, 0, 0
    nR, nRR, nV, nVV, nRV, nVR = -980, -950, 0, 0, 0, 0

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

    init_theta = 0.0
    init_left_pos = 0.0
    init_right_pos = 0.0
    init_left_thrust = 0.0
    init_right_thrust = 0.0

    def __init__(self) -> None:
        self.left_thrust_change = np.array(THRUST_CHANGES)
        self.right_thrust_change = self.left_thrust_change.copy()
        self.compute_actions()
        self.compute_constant_matrices()

        self.init_velocity_r = np.zeros(3)
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

    # ---- parameters -------------------------------------------------------------------------------------

    def compute_actions(self) -> None:
        """Set `actions`, all pairs of (left, right) thrust change (N/s), left being the outer loop."""
        self.actions = list(
            product(map(float, self.left_thrust_change), map(float, self.right_thrust_change))
        )

    def compute_actions_dimension(self) -> int:
        """Number of discrete actions."""
        return len(self.actions)

    def compute_constant_matrices(self) -> None:
        """Set rigid-body mass, added mass and linear damping `M_RB`, `M_A`, `D`, each (3, 3), float64."""
        added = [[self.xDotU, 0.0, 0.0], [0.0, self.yDotV, self.yDotR], [0.0, self.nDotV, self.nDotR]]
        damping = [[self.xU, 0.0, 0.0], [0.0, self.yV, self.yR], [0.0, self.nV, self.nR]]
        self.M_RB = np.diag(np.array([self.m, self.m, self.Izz], dtype=float))
        self.M_A = -np.array(added)
        self.D = -np.array(damping)

    # ---- state ------------------------------------------------------------------------------------------

    def reset_state(self, current_velocity: Vector = NO_CURRENT) -> None:
        """Take the initial condition in the current at the start (3,), and begin the histories anew."""
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

    def dist_to_goal(self) -> float:
        """Distance from the true position to the goal (m)."""
        dx = float(self.goal[0]) - self.x
        dy = float(self.goal[1]) - self.y
        return sqrt(dx * dx + dy * dy)

    def check_reach_goal(self) -> None:
        """Set `reach_goal` within `goal_dis` of the goal. Quirk W16: nothing but a reset clears it."""
        if self.dist_to_goal() <= self.goal_dis:
            self.reach_goal = True

    def check_over_spin(self) -> bool:
        """Whether the yaw rate exceeds `max_angular_speed`; the environment does not ask."""
        return bool(abs(self.velocity[2]) > self.max_angular_speed)

    def compute_step_energy_cost(self) -> float:
        """Energy of a step at the thrusts now in force (N s), environment spec 6.5."""
        thrust = self.power_coefficient * abs(self.left_thrust) + self.power_coefficient * abs(
            self.right_thrust
        )
        return thrust * self.dt * self.N

    # ---- frames -----------------------------------------------------------------------------------------

    def get_robot_transform(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation body to world, (2, 2), and position, (2, 1) m."""
        c, s = cos(self.theta), sin(self.theta)
        return np.array([[c, -s], [s, c]]), np.array([[self.x], [self.y]])

    def project_to_robot_frame(self, x: np.ndarray, is_vector: bool = True) -> np.ndarray:
        """Express a world vector (2,), or with `is_vector` False a world point (m), in the body frame."""
        if not isinstance(x, np.ndarray):
            raise AssertionError("the input needs to be an numpy array")
        if x.shape != (2,):
            raise AssertionError(f"x: the shape needs to be (2,), not {x.shape}")
        a, b = map(float, x)
        return np.array(self._to_body(a, b) if is_vector else self._to_body(a - self.x, b - self.y))

    def _to_body(self, a: float, b: float) -> tuple[float, float]:
        c, s = cos(self.theta), sin(self.theta)
        return c * a + s * b, c * b - s * a

    # ---- motion -----------------------------------------------------------------------------------------

    def thrust_rates(self, action: Any, is_continuous_action: bool = True) -> Rates:
        """Rates of change (N/s) of left and right thrust that two commands in [-1, 1], or an index, ask for.

        Raises:
            TypeError, IndexError, ValueError: `action` is no action of that kind, or not finite.
        """
        try:
            if is_continuous_action:
                left = CONTINUOUS_THRUST_RATE * float(action[0])
                right = CONTINUOUS_THRUST_RATE * float(action[1])
                if len(action) > 2 or not (isfinite(left) and isfinite(right)):
                    raise ValueError
                return left, right
            if action < 0:
                raise IndexError
            return self.actions[action]
        except (TypeError, IndexError, ValueError) as error:
            index = f"an index in 0..{len(self.actions) - 1}"
            allowed = "two finite numbers" if is_continuous_action else index
            raise type(error)(f"action: {allowed} needed, not {action!r}") from error

    def execute(self, action: Any, current_at: Current, is_continuous_action: bool = True) -> None:
        """One environment step: the thrusts of an action, then `N` sub-steps (environment spec 6.1)."""
        self.move(self.thrust_rates(action, is_continuous_action), current_at)

    def move(self, rates: Rates, current_at: Current) -> None:
        """`execute` the action of these thrust rates. Without sub-steps not even the thrusts change."""
        if self.N > 0:
            self._change_thrust(rates)
            self._advance(current_at, self.N)

    def update_velocity(self, current_velocity: Vector = NO_CURRENT) -> None:
        """Set the velocity over ground from `velocity_r` and the current, world frame, (3,)."""
        self.velocity = self.velocity_r + np.asarray(current_velocity, dtype=float)

    def update_state(
        self,
        action: Any,
        current_velocity: Vector = NO_CURRENT,
        is_new_action: bool = False,
        is_continuous_action: bool = True,
    ) -> None:
        """Advance by one sub-step of `dt` in a current (3,), world frame (environment spec 6.2)."""
        # The action is read only if it is new, as `thrust_rates` does, which raises for what is none.
        current = tuple(map(float, current_velocity))
        if is_new_action:
            self._change_thrust(self.thrust_rates(action, is_continuous_action))
        self._advance(lambda x, y: current, 1)

    def compute_motion(self) -> None:
        """Set `velocity_r`, a new array (3,), from yaw, thrusts and velocities (environment spec 6.4)."""
        wx, wy, _ = map(float, self.velocity_r)
        self.velocity_r = np.array(self._motion()(self.theta, wx, wy, *map(float, self.velocity)))

    def _change_thrust(self, rates: Rates) -> None:
        """Apply a whole step's change at once. Quirk W11: thrust jumps, then stays."""
        self.left_thrust = self._limited(self.left_thrust + rates[0] * self.dt * self.N)
        self.right_thrust = self._limited(self.right_thrust + rates[1] * self.dt * self.N)

    def _limited(self, thrust: float) -> float:
        return min(max(thrust, self.min_thrust), self.max_thrust)

    def _advance(self, current_at: Current, substeps: int) -> None:
        """Integrate position, yaw and velocity over at least one sub-step at constant thrust.

        Quirk W12: `velocity` is left as the one that moved the vessel in the last sub-step.
        """
        dt, motion = self.dt, self._motion()
        x, y, theta = self.x, self.y, self.theta
        wx, wy, yaw_rate = self.velocity_r.tolist()
        for _ in range(substeps):
            cx, cy, spin = current_at(x, y)
            gx, gy, ground_yaw_rate = wx + cx, wy + cy, yaw_rate + spin
            x += gx * dt
            y += gy * dt
            theta += ground_yaw_rate * dt
            while theta < 0.0:
                theta += TWO_PI
            while theta >= TWO_PI:
                theta -= TWO_PI
            wx, wy, yaw_rate = motion(theta, wx, wy, gx, gy, ground_yaw_rate)
        self.x, self.y, self.theta = x, y, theta
        self.velocity = np.array((gx, gy, ground_yaw_rate))
        self.velocity_r = np.array((wx, wy, yaw_rate))

    def _motion(self) -> Callable[..., tuple[float, float, float]]:
        """Bind the equation of motion to the present parameters and thrusts (environment spec 6.4).

        The function takes yaw, velocity through the water (2), velocity over ground (2), all world frame, and
        yaw rate; it gives `velocity_r` one `dt` later.
        """
        dt, m = self.dt, self.m
        inertia = (self.M_RB + self.M_A).tolist()
        (a11, _, _), (_, a22, a23), (_, a32, a33) = inertia
        (d11, _, _), (_, d22, d23), (_, d32, d33) = self.D.tolist()
        determinant = a22 * a33 - a23 * a32
        if a11 == 0.0 or determinant == 0.0:
            raise np.linalg.LinAlgError(f"Singular matrix: inertia M_RB + M_A = {inertia}")
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
            surge = surge_force + m * r * v - mu * r - (d11 - xUU * abs(u_r)) * u_r
            sway = sway_force - m * r * u + xDotU * u_r * r
            sway -= (d22 - yVV * abs_v - yRV * abs_r) * v_r + (d23 - yVR * abs_v - yRR * abs_r) * r
            yaw = yaw_moment + mu * u_r - xDotU * u_r * v_r
            yaw -= (d32 - nVV * abs_v - nRV * abs_r) * v_r + (d33 - nVR * abs_v - nRR * abs_r) * r
            u_r += dt * surge / a11
            v_r += dt * (a33 * sway - a23 * yaw) / determinant
            r += dt * (a22 * yaw - a32 * sway) / determinant
            return c * u_r - s * v_r, s * u_r + c * v_r, r

        return motion

    def _propulsion(self) -> tuple[float, float, float]:
        """Surge force (N), sway force (N) and yaw moment (N m) of the thrusters."""
        left_x, left_y = self.left_thrust * cos(self.left_pos), self.left_thrust * sin(self.left_pos)
        right_x, right_y = self.right_thrust * cos(self.right_pos), self.right_thrust * sin(self.right_pos)
        moment = (left_x - right_x) * self.width / 2 - (left_y + right_y) * self.length / 2
        return left_x + right_x, left_y + right_y, moment


def steady_surge(force: float) -> float:
    """Surge speed (m/s) that a force (N) ahead keeps up in still water (environment spec 6.4)."""
    return (-Vessel.xU - (Vessel.xU**2 - 4 * Vessel.xUU * force) ** 0.5) / (2 * Vessel.xUU)
