"""Robots, cores and obstacles as the entries of an episode dictionary, and back (environment spec 13)."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from marinenav_env.envs.contract.episode import (
    ARRAY_KEYS,
    CORE_KEYS,
    HISTORY_KEYS,
    OBSTACLE_KEYS,
    PERCEPTION_KEYS,
    ROBOT_KEYS,
)
from marinenav_env.envs.reference.current import Core
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.scenario import Obstacle


def write_cores(cores: list[Core]) -> dict[str, list]:
    """Entry "cores" of an "env" dictionary."""
    return {"positions": [[core.x, core.y] for core in cores]} | {
        key: [getattr(core, key) for core in cores] for key in CORE_KEYS[1:]
    }


def write_obstacles(obstacles: list[Obstacle]) -> dict[str, list]:
    """Entry "obstacles" of an "env" dictionary."""
    return {
        "positions": [[obstacle.x, obstacle.y] for obstacle in obstacles],
        "r": [obstacle.r for obstacle in obstacles],
    }


def read_cores(entry: Mapping[str, list]) -> list[Core]:
    """The cores of an entry; excess values are ignored."""
    rows = zip(*(entry[key] for key in CORE_KEYS), strict=False)
    return [Core(*centre, clockwise, Gamma) for centre, clockwise, Gamma in rows]


def read_obstacles(entry: Mapping[str, list]) -> list[Obstacle]:
    """The obstacles of an entry; excess values are ignored."""
    return [Obstacle(*centre, r) for centre, r in zip(*(entry[key] for key in OBSTACLE_KEYS), strict=False)]


def write_robots(robots: list[Robot]) -> dict[str, Any]:
    """The "robots" dictionary, histories included, as copies."""
    data: dict[str, Any] = {}
    for key in ROBOT_KEYS:
        values = [getattr(robot, key) for robot in robots]
        data[key] = [list(map(float, value)) for value in values] if key in ARRAY_KEYS else values
    data["perception"] = {
        key: [getattr(robot.perception, key) for robot in robots] for key in PERCEPTION_KEYS
    }
    data.update({key: [deepcopy(getattr(robot, key)) for robot in robots] for key in HISTORY_KEYS})
    return data


def read_robot(robot: Robot, robots: Mapping[str, Any], index: int) -> None:
    """Give a robot the parameters of one index of a "robots" dictionary; its state is still to be reset."""
    for key in ROBOT_KEYS:
        value = robots[key][index]
        setattr(robot, key, np.array(value, dtype=float) if key in ARRAY_KEYS else value)
    for key in PERCEPTION_KEYS:
        setattr(robot.perception, key, robots["perception"][key][index])
    robot.compute_actions()
    robot.compute_constant_matrices()
