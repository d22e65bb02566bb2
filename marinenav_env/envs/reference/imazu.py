"""The 22 standard encounters of Imazu (1987), scaled to the vessels of this world, as episodes.

H. Imazu, "Research on Collision Avoidance Manoeuvre" (in Japanese), University of Tokyo, 1987; courses in the
form of R. Sawada, K. Sato and T. Majima, "Automatic ship collision avoidance using deep reinforcement
learning with LSTM in continuous action spaces", Journal of Marine Science and Technology 26, 2021. The own
ship sails north; all ships aim to pass the meeting point at the same time.

Here one length is 7.5 m. The own ship and the others then start 45 m before the meeting point, at top speed,
and out of sight of each other (20 m), but for those on nearly its own course: the nearest leaves a gap of
2.3 m between the hulls. Less, and these would start in contact. The ship that is overtaken has thrusters
that give 0.7 of the others' speed.

``python -m marinenav_env.envs.reference.imazu`` writes the episodes to `FILE`.
"""

from math import cos, pi, radians, sin
from pathlib import Path

import numpy as np

from marinenav_env.envs.contract.episode import Episode, write_episode
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.vessel import steady_surge
from marinenav_env.envs.reference.world import MarineNavEnv3

FILE = Path(__file__).with_suffix(".json")
"""The episodes, in the order of `COURSES`; robot 0 is the own ship."""

COURSES = {
    1: [180], 2: [-90], 3: [0], 4: [45], 5: [180, -90], 6: [-10, -45], 7: [0, -45], 8: [180, -90],
    9: [-30, -90], 10: [-90, 15], 11: [90, -30], 12: [-45, -10], 13: [180, 10, 45], 14: [-10, -45, -90],
    15: [0, -45, -90], 16: [45, 90, -90], 17: [0, 10, -45], 18: [-135, -15, -30], 19: [15, -15, -135],
    20: [0, -15, -90], 21: [-15, 15, -90], 22: [0, -45, -90],
}  # fmt: skip
"""Courses of the other ships by the number of the case (degrees, clockwise from north)."""

LENGTH = 7.5
"""Unit of the distances (m)."""
MAP_SIZE = 100.0
"""Edge of the square map (m); the meeting point is its centre."""
BEFORE, OVERTAKEN_BEFORE = 6.0, 4.2
"""Lengths from start to meeting point; of a ship on the own ship's course."""


def episodes() -> list[Episode]:
    """The episodes of all cases."""
    return [episode(courses) for courses in COURSES.values()]


def episode(courses: list[int]) -> Episode:
    """One encounter of the own ship with others on their courses (degrees)."""
    world = MarineNavEnv3(is_eval_env=True, num_robots=1 + len(courses), num_cores=0, num_obs=0)
    world.width = world.height = MAP_SIZE
    world.robots[:] = [_ship(0, BEFORE), *(_ship(course, _before(course)) for course in courses)]
    world.cores.clear()
    world.obstacles.clear()
    return world.episode_data()


def _before(course: int) -> float:
    return OVERTAKEN_BEFORE if course == 0 else BEFORE


def _ship(course: int, before: float) -> Robot:
    """A ship under way on a course, so many lengths before the meeting point, as fast as it can go."""
    ship = Robot()
    along = np.array([cos(radians(course)), sin(radians(course))])
    centre = np.full(2, MAP_SIZE / 2)
    speed = before / BEFORE * steady_surge(2 * ship.max_thrust)
    ship.max_thrust = _resistance(speed) / 2
    ship.start, ship.goal = centre - before * LENGTH * along, centre + before * LENGTH * along
    ship.init_theta = radians(course) % (2 * pi)
    ship.init_velocity_r = np.array([*(speed * along), 0.0])
    ship.init_left_thrust = ship.init_right_thrust = ship.max_thrust
    ship.reset_state()
    return ship


def _resistance(speed: float) -> float:
    """Force (N) that keeps up a surge speed (m/s) (environment spec 6.4)."""
    return -(Robot.xU + Robot.xUU * speed) * speed


if __name__ == "__main__":
    write_episode(episodes(), FILE)
