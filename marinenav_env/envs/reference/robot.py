"""A vessel that senses its surroundings and follows the traffic rules (environment spec 7 and 8)."""

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from marinenav_env.envs.reference.colregs import TrafficVessel
from marinenav_env.envs.reference.sensor import Perception

__all__ = ["Perception", "Robot"]


class Robot(TrafficVessel):
    """A vessel with a sensor, its noise from `seed`. `apply_COLREGs` does not exist before the first look."""

    apply_COLREGs: bool

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.perception = Perception(seed)

    def perception_output(
        self, obstacles: Sequence[Any], robots: Sequence["Robot"], in_robot_frame: bool = True
    ) -> tuple[tuple[list[float] | None, list[list[float]] | None], bool, bool]:
        """Look around, update flags and COLREGs (environment spec 7); `obstacles` are discs `x`, `y`, `r`.

        A deactivated robot sees nothing, draws no noise and keeps its stale values. Of `robots` it sees
        neither itself nor deactivated ones (Quirk W17: finished ones it does). Quirk W14: in the world frame
        the state has no heading.

        Returns:
            ((self state of 7 or 9 floats, up to `max_obj_num` objects [x, y, vx, vy, radius], nearest first),
            collision, reach_goal). Both lists are copies; None for a deactivated robot.
        """
        if self.deactivated:
            return (None, None), self.collision, self.reach_goal
        perception = self.perception
        perception.forget()
        perception.observation["self"] = self._self_state(in_robot_frame)
        self.check_reach_goal()
        for i, obstacle in enumerate(obstacles):
            if self._sense(obstacle.x, obstacle.y, 0.0, 0.0, obstacle.r, in_robot_frame):
                perception.observed_obs.append(i)
        for i, other in self._visible(robots):
            vx, vy, _ = other.velocity.tolist()
            if self._sense(other.x, other.y, vx, vy, other.r, in_robot_frame):
                perception.observed_objs.append(i)
        nearest = perception.nearest(self.r)
        self.apply_COLREGs = any(map(self.check_apply_COLREGs, nearest))
        return (perception.observation["self"].copy(), nearest), self.collision, self.reach_goal

    def _visible(self, robots: Sequence["Robot"]) -> Iterator[tuple[int, "Robot"]]:
        return ((i, other) for i, other in enumerate(robots) if other is not self and not other.deactivated)

    def _self_state(self, in_robot_frame: bool) -> list[float]:
        """Own state without noise, in the order of `contract.layout.SELF` (environment spec 7.1)."""
        goal_x, goal_y = float(self.goal[0]), float(self.goal[1])
        vx, vy, yaw_rate = self.velocity.tolist()
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
        if not perception.detects(a, b, sensed_radius):
            return False
        if not self.collision:
            self.check_collision(x, y, radius)
        if in_robot_frame:
            px, py, (wx, wy) = a, b, self._to_body(wx, wy)
        perception.observation["objects"].append([px, py, wx, wy, sensed_radius])
        return True

    def check_detection(self, obj_x: float, obj_y: float, obj_r: float) -> bool:
        """Whether a disc at a world position (noisy, m) lies within range and sector of the sensor."""
        return self.perception.detects(*self._to_body(obj_x - self.x, obj_y - self.y), obj_r)

    def check_collision(self, obj_x: float, obj_y: float, obj_r: float) -> None:
        """Set `collision` if the own disc touches a true object. Quirk W16: only a reset clears it."""
        if self.compute_distance(obj_x, obj_y, obj_r) <= 0.0:
            self.collision = True

    def compute_distance(self, x: float, y: float, r: float, in_robot_frame: bool = False) -> float:
        """Gap between the own disc and one of radius `r` at (x, y), negative where they overlap (m)."""
        if not in_robot_frame:
            x, y = self.x - x, self.y - y
        return sqrt(x * x + y * y) - r - self.r

    def state_dict(self) -> dict[str, Any]:
        """Everything but methods as plain data, not copied."""
        return {**vars(self), "perception": self.perception.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a `state_dict`, which the robot keeps and writes into."""
        vars(self).update({key: value for key, value in state.items() if key != "perception"})
        self.perception.load_state_dict(state["perception"])


def deactivate_finished(robot: Robot) -> bool:
    """Take a robot that collided or arrived out of the water; the world leaves that to its caller."""
    if robot.collision or robot.reach_goal:
        robot.deactivated = True
    return robot.deactivated
