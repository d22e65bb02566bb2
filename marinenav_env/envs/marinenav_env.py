"""The reference world: vessels among vortices and obstacles, NumPy random streams, float64 (environment spec)."""

from collections.abc import Callable, Sequence
from math import isfinite, pi, sqrt
from os import PathLike
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from marinenav_env.envs import episode
from marinenav_env.envs.utils.robot import Current, Robot

START_MARGIN = 2.0
OBSTACLE_MARGIN = 5.0
MAX_ATTEMPTS = 500
EPISODE_LIMIT = 1000

Observation = tuple[list[float] | None, list[list[float]] | None]
Observations = tuple[list[Observation], list[bool], list[bool]]


class Core:
    """Vortex core.

    Args:
        x: centre, north (m).
        y: centre, east (m).
        clockwise: sense of rotation. Quirk Q2: seen from above on the north-up map the truth is the opposite.
        Gamma: circulation (m^2/s).
    """

    def __init__(self, x: float, y: float, clockwise: int, Gamma: float) -> None:
        self.x, self.y, self.clockwise, self.Gamma = x, y, clockwise, Gamma


class Obstacle:
    """Static disc.

    Args:
        x: centre, north (m).
        y: centre, east (m).
        r: radius (m).
    """

    def __init__(self, x: float, y: float, r: float) -> None:
        self.x, self.y, self.r = x, y, r


def _still_water(x: float, y: float) -> tuple[float, float, float]:
    return 0.0, 0.0, 0.0


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    dx, dy = float(a[0]) - float(b[0]), float(a[1]) - float(b[1])
    return sqrt(dx * dx + dy * dy)


class MarineNavEnv3:
    """Multi-robot marine navigation with vortices, obstacles and traffic rules.

    Lists in robot order go in and come out; the caller deactivates robots that collided or arrived (Quirk Q22).
    Quirk Q1: the map has no boundary.

    Args:
        seed: seed of the environment stream `rd`.
        schedule: curriculum of equally long lists `timesteps`, `num_robots`, `num_cores`, `num_obstacles`,
            `min_start_goal_dis`, or None.
        is_eval_env: whether to keep observation, action and trajectory histories.
    """

    def __init__(
        self, seed: int = 0, schedule: dict[str, Sequence[Any]] | None = None, is_eval_env: bool = False
    ):
        self.seed = seed
        self.rd = np.random.RandomState(seed)
        self.is_eval_env = is_eval_env
        self.verbose = True
        """Whether `reset` prints the curriculum stage."""

        # map and episode generation
        self.width = 55
        self.height = 55
        self.r = 0.5
        self.v_rel_max = 1.0
        self.p = 0.8
        self.v_range = [3, 3]
        self.obs_r_range = [1, 1]
        self.clear_r = 10.0
        self.num_cores = 8
        self.num_obs = 8
        self.min_start_goal_dis = 30.0
        self.num_robots = 6

        # rewards
        self.timestep_penalty = -0.1
        self.COLREGs_penalty = -0.1
        self.collision_penalty = -5.0
        self.goal_reward = 10.0

        # kept for callers and files, without effect
        self.angular_speed_max = pi / 2
        self.angular_speed_penalty = -1.0
        self.steering_reward_angle_max = pi / 3
        self.steering_reward_speed_min = 1.0
        self.steering_reward = 0.5

        # Quirk Q28: robots that no episode uses, so that the action space is known; their seeds are drawn.
        self.robots = [self._new_robot() for _ in range(self.num_robots)]
        self.cores: list[Core] = []
        self.obstacles: list[Obstacle] = []

        self.schedule = schedule
        self.episode_timesteps = 0
        self.total_timesteps = 0
        self.observation_in_robot_frame = True

    def get_action_space_dimension(self) -> int:
        """Number of discrete actions of a robot; IndexError with no robots."""
        return self.robots[0].compute_actions_dimension()

    # ---- episode generation -----------------------------------------------------------------------------

    def reset(self) -> Observations:
        """Generate the next episode of the random stream (environment spec 4).

        Returns:
            Observations, collision flags and goal flags, one per robot.

        Raises:
            AssertionError: the schedule asks for no robot.
            ValueError: `num_robots` is 0 without a schedule.
        """
        if self.schedule is not None:
            self._enter_stage(self.schedule)
        self.episode_timesteps = 0
        self.cores.clear()
        self.obstacles.clear()
        self.robots.clear()
        self._place_robots()
        self._fill(self.cores, self.num_cores, self._draw_core, self.check_core)
        self._index_cores()
        self._fill(self.obstacles, self.num_obs, self._draw_obstacle, self.check_obstacle)
        return self.get_observations()

    def _enter_stage(self, schedule: dict[str, Sequence[Any]]) -> None:
        # Quirk Q10: before the first threshold the stage is -1, the last one.
        stage = sum(start <= self.total_timesteps for start in schedule["timesteps"]) - 1
        self.num_robots = schedule["num_robots"][stage]
        if self.num_robots <= 0:
            raise AssertionError("Number of robots is 0!")
        self.num_cores = schedule["num_cores"][stage]
        self.num_obs = schedule["num_obstacles"][stage]
        self.min_start_goal_dis = schedule["min_start_goal_dis"][stage]
        self._announce_stage()

    def _announce_stage(self) -> None:
        if not self.verbose:
            return
        print("\n======== training schedule ========")
        print("num of robots: ", self.num_robots)
        print("num of cores: ", self.num_cores)
        print("num of obstacles: ", self.num_obs)
        print("min start goal dis: ", self.min_start_goal_dis)
        print("======== training schedule ========\n")

    def _new_robot(self) -> Robot:
        # Quirk Q29: seeds may coincide.
        return Robot(self.rd.randint(0, 5 * self.num_robots))

    def _uniform_point(self, margin: float) -> np.ndarray:
        return self.rd.uniform((margin, margin), (self.width - margin, self.height - margin))

    def _place_robots(self) -> None:
        for _ in range(MAX_ATTEMPTS):
            start, goal = self._uniform_point(START_MARGIN), self._uniform_point(START_MARGIN)
            if self.check_start_and_goal(start, goal):
                robot = self._new_robot()
                robot.start, robot.goal = start, goal
                self.reset_robot(robot)
                self.robots.append(robot)
            if len(self.robots) == self.num_robots:
                break

    def _fill(
        self, placed: list, number: int, draw: Callable[[], Any], accept: Callable[[Any], bool]
    ) -> None:
        """Quirk Q9: whatever the attempts do not suffice for is silently missing."""
        for _ in range(MAX_ATTEMPTS):
            if len(placed) >= number:
                break
            candidate = draw()
            if accept(candidate):
                placed.append(candidate)

    def _draw_core(self) -> Core:
        x, y = self._uniform_point(0.0).tolist()
        clockwise = self.rd.binomial(1, 0.5)
        edge_speed = self.rd.uniform(self.v_range[0], self.v_range[1])
        return Core(x, y, clockwise, 2 * pi * self.r * edge_speed)

    def _draw_obstacle(self) -> Obstacle:
        x, y = self._uniform_point(OBSTACLE_MARGIN).tolist()
        return Obstacle(x, y, self.rd.uniform(self.obs_r_range[0], self.obs_r_range[1]))

    def _index_cores(self) -> None:
        if self.cores:
            self.core_centers = KDTree([(core.x, core.y) for core in self.cores])

    def reset_robot(self, rob: Robot) -> None:
        """Put a robot at its start with a random yaw, one draw of `rd`.

        Quirk Q6: robots are placed before the cores exist, so their first velocity knows no current.
        """
        rob.reach_goal = False
        rob.collision = False
        rob.deactivated = False
        rob.init_theta = self.rd.uniform(0.0, 2 * pi)
        rob.init_velocity_r = np.zeros(3)
        rob.init_pos = 0.0
        rob.init_thrust = 0.0
        rob.reset_state(self.get_velocity(*rob.start))

    def check_start_and_goal(self, start: Sequence[float], goal: Sequence[float]) -> bool:
        """Whether a start and a goal, (2,) m each, are far apart and clear of those of the robots placed.

        Quirk Q5: a start is not compared with the goals of others, nor a goal with their starts.
        """
        if _distance(start, goal) < self.min_start_goal_dis:
            return False
        return all(
            _distance(robot.start, start) > self.clear_r and _distance(robot.goal, goal) > self.clear_r
            for robot in self.robots
        )

    def _clear_of_robots(self, centre: tuple[float, float], clearance: float) -> bool:
        return all(
            _distance(centre, robot.start) >= clearance and _distance(centre, robot.goal) >= clearance
            for robot in self.robots
        )

    def check_core(self, core_j: Core) -> bool:
        """Whether a vortex core fits into the map, between the robots and among the cores (environment spec 4.3)."""
        # Quirk Q7: the width bounds both axes.
        if not all(c - self.r >= 0 and c + self.r <= self.width for c in (core_j.x, core_j.y)):
            return False
        if not self._clear_of_robots((core_j.x, core_j.y), self.r + self.clear_r):
            return False
        return all(self._compatible(core_i, core_j) for core_i in self.cores)

    def _compatible(self, core_i: Core, core_j: Core) -> bool:
        distance = _distance((core_i.x, core_i.y), (core_j.x, core_j.y))
        weak, strong = sorted((core_i.Gamma, core_j.Gamma))
        if core_i.clockwise == core_j.clockwise:
            reach = weak / (2 * pi * self.v_rel_max) + strong / (2 * pi * self.v_rel_max)
            return distance >= reach
        # Quirk Q8: the gap of heavily overlapping cores is negative, they pass.
        gap = distance - 2 * self.r
        return gap != 0.0 and strong / (2 * pi * gap) <= self.p * (weak / (2 * pi * self.r))

    def check_obstacle(self, obs: Obstacle) -> bool:
        """Whether an obstacle fits into the map, between robots, cores and obstacles (environment spec 4.4)."""
        if (
            obs.x - obs.r < 0
            or obs.x + obs.r > self.width
            or obs.y - obs.r < 0
            or obs.y + obs.r > self.height
        ):
            return False
        centre = (obs.x, obs.y)
        if not self._clear_of_robots(centre, obs.r + self.clear_r):
            return False
        if any(_distance((core.x, core.y), centre) <= self.r + obs.r for core in self.cores):
            return False
        return all(_distance((other.x, other.y), centre) > other.r + obs.r for other in self.obstacles)

    # ---- current ----------------------------------------------------------------------------------------

    def compute_speed(self, Gamma: float, d: float) -> float:
        """Speed (m/s) of a vortex of circulation Gamma (m^2/s) at distance d (m): a Rankine profile."""
        if d <= self.r:
            return Gamma / (2 * pi * self.r * self.r) * d
        return Gamma / (2 * pi * d)

    def get_velocity(self, x: float, y: float) -> np.ndarray:
        """Current at a position (m), world frame, array (3,): vx, vy (m/s) and 0.

        Quirk Q3: every core contributes, whatever lies between.

        Raises:
            ValueError: a non-finite position while there are cores.
        """
        return np.array(self._current()(float(x), float(y)))

    def _current(self) -> Current:
        """Bind the vortex field to the present cores, as a function of floats."""
        if not self.cores:
            return _still_water
        cores = [(float(c.x), float(c.y), float(c.Gamma), 1.0 if c.clockwise else -1.0) for c in self.cores]
        compute_speed = self.compute_speed

        def current(x: float, y: float) -> tuple[float, float, float]:
            if not (isfinite(x) and isfinite(y)):
                raise ValueError(f"get_velocity: the position must be finite, not ({x}, {y})")
            contributions = []
            for core_x, core_y, Gamma, sense in cores:
                dx, dy = x - core_x, y - core_y
                d = sqrt(dx * dx + dy * dy)
                if d > 0.0:  # Quirk Q4: nothing at the very centre
                    k = sense * compute_speed(Gamma, d) / d
                    contributions.append((d, k * dy, -k * dx))
            contributions.sort()
            vx = vy = 0.0
            for _, ax, ay in contributions:
                vx += ax
                vy += ay
            return vx, vy, 0.0

        return current

    def get_velocity_test(self, x: float, y: float) -> np.ndarray:
        """A uniform current of 1 m/s to the north-east, whatever the position, array (2,)."""
        return np.array([1.0, 1.0]) / np.sqrt(2)

    # ---- a step -----------------------------------------------------------------------------------------

    def step(
        self, actions: Sequence[Any], is_continuous_action: bool = True
    ) -> tuple[list[Observation], list[float], list[bool], list[dict[str, str]]]:
        """Advance all active robots by 0.5 s and look around (environment spec 10).

        Args:
            actions: one per robot: two commands in [-1, 1], or an index in 0..24; ignored for deactivated robots.
            is_continuous_action: how to read `actions`.

        Returns:
            Observations, rewards (Quirk Q21: int 0 for deactivated robots), dones and infos `{"state": ...}`.

        Raises:
            AssertionError: the number of actions is not that of the robots, or all robots have arrived.
            RuntimeError: a robot was deactivated without collision or arrival.
        """
        if len(actions) != len(self.robots):
            raise AssertionError("Number of actions not equal number of robots!")
        if self.check_all_reach_goal():
            raise AssertionError("All robots reach goals, not actions are available!")
        current = self._current()
        rewards = [
            0 if robot.deactivated else self._move(robot, action, current, is_continuous_action)
            for robot, action in zip(self.robots, actions, strict=True)
        ]
        observations, _, _ = self.get_observations()
        dones, infos = [], []
        for i, robot in enumerate(self.robots):
            bonus, done, state = self._outcome(robot)
            if not robot.deactivated:
                rewards[i] = rewards[i] + self.compute_COLREGs_penalty(robot) + bonus
            dones.append(done)
            infos.append({"state": state})
        self.episode_timesteps += 1
        self.total_timesteps += 1
        return observations, rewards, dones, infos

    def _move(self, robot: Robot, action: Any, current: Current, is_continuous_action: bool) -> float:
        """Execute one robot's action; reward for time and progress."""
        before = robot.dist_to_goal()
        robot.execute(action, current, is_continuous_action)
        if self.is_eval_env:
            robot.action_history.append(action)
            robot.record_trajectory()
        return self.timestep_penalty + (before - robot.dist_to_goal())

    def _outcome(self, robot: Robot) -> tuple[float, bool, str]:
        """Reward of the event, done and info of a robot after it moved."""
        if robot.deactivated:
            if robot.collision:
                return 0.0, True, "deactivated after collision"
            if robot.reach_goal:
                return 0.0, True, "deactivated after reaching goal"
            raise RuntimeError("Robot being deactived can only be caused by collsion or reaching goal!")
        if self.episode_timesteps >= EPISODE_LIMIT:  # Quirk Q23: no event reward any more
            return 0.0, True, "too long episode"
        if robot.collision:
            return self.collision_penalty, True, "collision"
        if robot.reach_goal:
            return self.goal_reward, True, "reach goal"
        return 0.0, False, "normal"

    def get_observations(self) -> Observations:
        """Let every robot look around: consumes sensor noise and, in evaluation mode, grows the histories.

        Returns:
            Observations `(self state, objects)` or `(None, None)`, collision flags and goal flags.
        """
        observations, collisions, reach_goals = [], [], []
        for robot in self.robots:
            observation, collision, reach_goal = robot.perception_output(
                self.obstacles, self.robots, self.observation_in_robot_frame
            )
            if self.is_eval_env:
                robot.observation_history.append(list(observation))
            observations.append(observation)
            collisions.append(collision)
            reach_goals.append(reach_goal)
        return observations, collisions, reach_goals

    def compute_COLREGs_penalty(self, rob: Robot) -> float:
        """Penalty for the starboard turn that the traffic rules still ask of a robot, or 0."""
        return self.COLREGs_penalty * rob.phi if rob.apply_COLREGs else 0.0

    def check_all_deactivated(self) -> bool:
        """Whether no robot is left in the water."""
        return all(robot.deactivated for robot in self.robots)

    def check_all_reach_goal(self) -> bool:
        """Whether all robots have arrived."""
        return all(robot.reach_goal for robot in self.robots)

    def check_any_collision(self) -> bool:
        """Whether any robot, deactivated ones included, has collided."""
        return any(robot.collision for robot in self.robots)

    def out_of_boundary(self) -> bool:
        """Quirk Q1: unusable, the map has no boundary.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            "out_of_boundary: the environment has no robot of its own, and the map no boundary (Q1)"
        )

    # ---- files ------------------------------------------------------------------------------------------

    def episode_data(self) -> dict[str, dict[str, Any]]:
        """Episode dictionary of the present scenario and its histories (environment spec 13.1)."""
        return episode.episode_data(self)

    def save_episode(self, filename: str | PathLike[str]) -> None:
        """Write the episode dictionary as JSON.

        Raises:
            TypeError: Quirk Q24, the action history holds NumPy values.
        """
        episode.write_episode(self.episode_data(), filename)

    def reset_with_eval_config(self, eval_config: dict[str, dict[str, Any]]) -> Observations:
        """Set up the scenario of an episode dictionary; its histories are ignored (environment spec 13.2).

        Quirk Q25: here the first velocity includes the current. Quirk Q26: perception seeds are the first draws
        of the re-seeded `rd`, bounded by five times the present attribute `num_robots`.

        Args:
            eval_config: as `episode_data` gives it, fresh or from JSON.

        Returns:
            As `reset`.

        Raises:
            KeyError: a key is missing.
            IndexError: a list is shorter than the scenario needs.
        """
        episode.validate_episode(eval_config)
        config = eval_config["env"]
        self.episode_timesteps = 0
        for key, value in episode.env_parameters(config).items():
            setattr(self, key, value)
        self.rd = np.random.RandomState(self.seed)

        cores, obstacles = config["cores"], config["obstacles"]
        self.cores[:] = [
            Core(*position, clockwise, Gamma)
            for position, clockwise, Gamma in zip(
                cores["positions"], cores["clockwise"], cores["Gamma"], strict=False
            )
        ]
        self._index_cores()
        self.obstacles[:] = [
            Obstacle(*position, r)
            for position, r in zip(obstacles["positions"], obstacles["r"], strict=False)
        ]
        self.robots.clear()
        for i in range(config["num_robots"]):
            robot = self._new_robot()
            episode.load_robot(robot, eval_config["robots"], i)
            robot.reset_state(self.get_velocity(*robot.start))
            self.robots.append(robot)
        return self.get_observations()
