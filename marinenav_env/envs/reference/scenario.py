"""What an episode is made of: robots, vortices, obstacles, and how they are drawn (environment spec 3-5)."""

from collections.abc import Callable, Sequence
from functools import cache
from math import pi, sqrt
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from marinenav_env.envs.contract.constants import MAX_ATTEMPTS, OBSTACLE_MARGIN, START_MARGIN
from marinenav_env.envs.contract.stage import Schedule, Stage, stage_index, stage_of
from marinenav_env.envs.reference.current import Core, Current, core_speed, current_field
from marinenav_env.envs.reference.robot import Robot

TRIALS = 50
"""Scenarios after which what has found no room in any of them counts as finding none."""


class Obstacle:
    """Static disc: centre x (north), y (east) and radius r (m)."""

    def __init__(self, x: float, y: float, r: float) -> None:
        self.x, self.y, self.r = x, y, r


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    dx, dy = float(a[0]) - float(b[0]), float(a[1]) - float(b[1])
    return sqrt(dx * dx + dy * dy)


class Scenario:
    """A map with robots, vortices and obstacles, and the stream `rd`, from `seed`, that places them.

    `schedule` is as in `contract.stage`, or None. Quirk W1: the map has no boundary; robots and currents
    leave it without effect.
    """

    def __init__(self, seed: int = 0, schedule: Schedule | None = None) -> None:
        self.seed = seed
        self.rd = np.random.RandomState(seed)
        self.schedule = schedule
        self.total_timesteps = 0
        self.verbose = True  # whether the curriculum stage is printed at a reset

        self.width = 55
        self.height = 55
        self.r = 0.5
        self.v_rel_max = 1.0
        self.p = 0.8
        self.v_range = [3, 3]
        self.obs_r_range = [1, 1]
        self.clear_r = 10.0
        self.stage = Stage()

        # Quirk W28: no episode uses these robots, but their seeds are drawn.
        self.robots = [self.draw_robot() for _ in range(self.num_robots)]
        self.cores: list[Core] = []
        self.obstacles: list[Obstacle] = []

    @property
    def stage(self) -> Stage:
        """What the next scenario is to hold; the attributes of the same names, settable together."""
        return Stage(*(getattr(self, name) for name in Stage._fields))

    @stage.setter
    def stage(self, stage: Stage) -> None:
        vars(self).update(stage._asdict())

    @property
    def placed(self) -> Stage:
        """What the present scenario holds: less than was asked for where it found no room (Quirk W9)."""
        return Stage(len(self.robots), len(self.cores), len(self.obstacles), self.min_start_goal_dis)

    # ---- generation -------------------------------------------------------------------------------------

    def generate(self) -> None:
        """Draw the next scenario of the stream, in place."""
        self.cores.clear()
        self.obstacles.clear()
        self.robots.clear()
        self._place_robots()
        self._place(self.cores, self.num_cores, self._draw_core, self.check_core)
        self.index_cores()
        self._place(self.obstacles, self.num_obs, self._draw_obstacle, self.check_obstacle)

    def _enter_stage(self, schedule: Schedule) -> None:
        self.stage = stage_of(schedule, stage_index(schedule, self.total_timesteps))
        if self.num_robots <= 0:
            raise AssertionError("Number of robots is 0!")
        if self.verbose:
            self._announce_stage()

    def _announce_stage(self) -> None:
        print("\n======== training schedule ========")
        print("num of robots: ", self.num_robots)
        print("num of cores: ", self.num_cores)
        print("num of obstacles: ", self.num_obs)
        print("min start goal dis: ", self.min_start_goal_dis)
        print("======== training schedule ========\n")

    def draw_robot(self) -> Robot:
        """Make a robot with a perception seed from `rd`. Quirk W29: seeds may coincide."""
        return Robot(self.rd.randint(0, 5 * self.num_robots))

    def _uniform_point(self, margin: float) -> tuple[float, float]:
        # rd.uniform bit for bit, at a tenth of its cost
        x = margin + (self.width - margin - margin) * self.rd.random_sample()
        return x, margin + (self.height - margin - margin) * self.rd.random_sample()

    def _place_robots(self) -> None:
        for _ in range(MAX_ATTEMPTS):
            start, goal = self._uniform_point(START_MARGIN), self._uniform_point(START_MARGIN)
            if self.check_start_and_goal(start, goal):
                robot = self.draw_robot()
                robot.start, robot.goal = np.array(start), np.array(goal)
                self.reset_robot(robot)
                self.robots.append(robot)
            if len(self.robots) == self.num_robots:
                break

    def _place(self, placed: list, number: int, draw: Callable[[], Any], accept: Callable[..., bool]) -> None:
        """Fill a list by rejection. Quirk W9: what the attempts do not suffice for is silently missing."""
        for _ in range(MAX_ATTEMPTS):
            if len(placed) >= number:
                break
            candidate = draw()
            if accept(candidate):
                placed.append(candidate)

    def _draw_core(self) -> Core:
        x, y = self._uniform_point(0.0)
        clockwise = self.rd.binomial(1, 0.5)
        edge_speed = self.rd.uniform(self.v_range[0], self.v_range[1])
        return Core(x, y, clockwise, 2 * pi * self.r * edge_speed)

    def _draw_obstacle(self) -> Obstacle:
        x, y = self._uniform_point(OBSTACLE_MARGIN)
        return Obstacle(x, y, self.rd.uniform(self.obs_r_range[0], self.obs_r_range[1]))

    def reset_robot(self, rob: Robot) -> None:
        """Put a robot at its start with a random yaw, one draw of `rd`.

        Quirk W6: robots are placed before the cores exist, so their first velocity knows no current.
        """
        rob.reach_goal = False
        rob.collision = False
        rob.deactivated = False
        rob.init_theta = self.rd.uniform(0.0, 2 * pi)
        rob.init_velocity_r = np.zeros(3)
        rob.init_pos = 0.0
        rob.init_thrust = 0.0
        rob.reset_state(self.get_velocity(*rob.start))

    # ---- acceptance -------------------------------------------------------------------------------------

    def check_start_and_goal(self, start: Sequence[float], goal: Sequence[float]) -> bool:
        """Whether a start and a goal, (2,) m each, are far apart and clear of those of the robots placed.

        Quirk W5: a start is not compared with the goals of others, nor a goal with their starts.
        """
        if _distance(start, goal) < self.min_start_goal_dis:
            return False
        return all(
            _distance(robot.start, start) > self.clear_r and _distance(robot.goal, goal) > self.clear_r
            for robot in self.robots
        )

    def check_core(self, core_j: Core) -> bool:
        """Whether a core fits into the map, between the robots and among the cores (environment spec 4.3)."""
        centre = (core_j.x, core_j.y)
        if not self._inside(centre, self.r, self.width):  # Quirk W7: the width bounds both axes
            return False
        if not self._clear_of_robots(centre, self.r + self.clear_r):
            return False
        return all(self._compatible(core_i, core_j) for core_i in self.cores)

    def check_obstacle(self, obs: Obstacle) -> bool:
        """Whether an obstacle fits into the map, between robots, cores, obstacles (environment spec 4.4)."""
        centre = (obs.x, obs.y)
        if not self._inside(centre, obs.r, self.height):
            return False
        if not self._clear_of_robots(centre, obs.r + self.clear_r):
            return False
        if any(_distance((core.x, core.y), centre) <= self.r + obs.r for core in self.cores):
            return False
        return all(_distance((other.x, other.y), centre) > other.r + obs.r for other in self.obstacles)

    def _inside(self, centre: tuple[float, float], r: float, height: float) -> bool:
        return all(
            c - r >= 0 and c + r <= limit for c, limit in zip(centre, (self.width, height), strict=True)
        )

    def _clear_of_robots(self, centre: tuple[float, float], clearance: float) -> bool:
        return all(
            _distance(centre, robot.start) >= clearance and _distance(centre, robot.goal) >= clearance
            for robot in self.robots
        )

    def _compatible(self, core_i: Core, core_j: Core) -> bool:
        distance = _distance((core_i.x, core_i.y), (core_j.x, core_j.y))
        weak, strong = sorted((core_i.Gamma, core_j.Gamma))
        if core_i.clockwise == core_j.clockwise:
            return distance >= weak / (2 * pi * self.v_rel_max) + strong / (2 * pi * self.v_rel_max)
        # Quirk W8: the gap of heavily overlapping cores is negative, they pass.
        gap = distance - 2 * self.r
        if gap == 0.0:
            return strong == 0.0  # at rest the cores that touch pass, as those nearer and farther do
        return strong / (2 * pi * gap) <= self.p * (weak / (2 * pi * self.r))

    # ---- current ----------------------------------------------------------------------------------------

    def compute_speed(self, Gamma: float, d: float) -> float:
        """Speed (m/s) of a vortex of circulation Gamma (m^2/s) at distance d (m), a Rankine profile."""
        return core_speed(Gamma, d, self.r)

    def get_velocity(self, x: float, y: float) -> np.ndarray:
        """Current at a position (m), world frame, (3,): vx, vy (m/s) and 0; ValueError if not finite."""
        return np.array(self._current()(float(x), float(y)))

    def _current(self) -> Current:
        return current_field(self.cores, self.r)

    def index_cores(self) -> None:
        """Keep `core_centers`, the public index over the cores; absent until cores first exist."""
        if self.cores:
            self.core_centers = KDTree([(core.x, core.y) for core in self.cores])

    def get_velocity_test(self, x: float, y: float) -> np.ndarray:
        """A uniform current of 1 m/s to the north-east whatever the position, array (2,)."""
        return np.array([1.0, 1.0]) / np.sqrt(2)


@cache
def room_for(stage: Stage) -> Stage:
    """The most robots, cores and obstacles of a stage that found room in a scenario of the default map."""
    # Placing is random and gives up (Quirk W9), so that no formula tells: scenarios of a fixed stream are
    # drawn, until everything fits into one, `TRIALS` at most.
    scenario = Scenario()
    most = Stage(0, 0, 0, stage.min_start_goal_dis)
    for _ in range(TRIALS):
        scenario.stage = stage
        scenario.generate()
        most = Stage(*map(max, most, scenario.placed))
        if most == stage:
            break
    return most
