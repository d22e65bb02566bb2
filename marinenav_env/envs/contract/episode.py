"""Episode dictionaries: schema, read, write and validate scenarios with histories (environment spec 13).

A dictionary has the keys "env" (map, rewards, vortices, obstacles) and "robots" (lists, one entry per robot).
An evaluation set is a JSON list of such dictionaries.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marinenav_env.envs.contract.rewards import REWARDS
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.scenario import Core, Obstacle

if TYPE_CHECKING:
    from marinenav_env.envs.reference.world import MarineNavEnv3

Episode = dict[str, dict[str, Any]]

ENV_KEYS = (
    "seed", "is_eval_env", "width", "height", "r", "v_rel_max", "p", "v_range", "obs_r_range", "clear_r",
    "angular_speed_max", "angular_speed_penalty", *REWARDS,
)  # fmt: skip
CORE_KEYS = ("positions", "clockwise", "Gamma")
OBSTACLE_KEYS = ("positions", "r")
ROBOT_KEYS = (
    "dt", "N", "length", "width", "detect_r", "r", "goal_dis", "power_coefficient",
    "min_thrust", "max_thrust", "left_thrust_change", "right_thrust_change",
    "m", "Izz", "xDotU", "yDotV", "yDotR", "nDotR", "nDotV",
    "xU", "xUU", "yV", "yVV", "yR", "yRV", "yVR", "yRR", "nR", "nRR", "nV", "nVV", "nRV", "nVR",
    "start", "goal", "init_theta", "init_velocity_r",
    "init_left_pos", "init_right_pos", "init_left_thrust", "init_right_thrust",
)  # fmt: skip
ARRAY_KEYS = {"left_thrust_change", "right_thrust_change", "start", "goal", "init_velocity_r"}
"""Robot entries that are lists in the file and arrays on the robot."""
PERCEPTION_KEYS = ("range", "angle", "max_obj_num", "pos_std", "vel_std", "r_kappa", "r_mean_ratio")
HISTORY_KEYS = ("observation_history", "action_history", "trajectory")


def episode_data(env: "MarineNavEnv3") -> Episode:
    """Describe the scenario and the histories of an environment, as copies.

    Quirk W27: `num_robots` is the attribute, whatever the number of robots.
    """
    return {"env": _env_data(env), "robots": _robots_data(env.robots)}


def _env_data(env: "MarineNavEnv3") -> dict[str, Any]:
    data = {key: deepcopy(getattr(env, key)) for key in (*ENV_KEYS, "num_robots")}
    data["cores"] = {
        "positions": [[core.x, core.y] for core in env.cores],
        "clockwise": [core.clockwise for core in env.cores],
        "Gamma": [core.Gamma for core in env.cores],
    }
    data["obstacles"] = {
        "positions": [[obstacle.x, obstacle.y] for obstacle in env.obstacles],
        "r": [obstacle.r for obstacle in env.obstacles],
    }
    return data


def _robots_data(robots: list[Robot]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key in ROBOT_KEYS:
        values = [getattr(robot, key) for robot in robots]
        data[key] = [list(map(float, value)) for value in values] if key in ARRAY_KEYS else values
    data["perception"] = {
        key: [getattr(robot.perception, key) for robot in robots] for key in PERCEPTION_KEYS
    }
    data.update({key: [deepcopy(getattr(robot, key)) for robot in robots] for key in HISTORY_KEYS})
    return data


def load_episode(env: "MarineNavEnv3", data: Mapping[str, Mapping[str, Any]]) -> None:
    """Give an environment the seed, map, rewards, vortices, obstacles and robots of a valid dictionary."""
    config = data["env"]
    for key in ENV_KEYS:
        setattr(env, key, deepcopy(config[key]))
    env.rd = np.random.RandomState(env.seed)
    cores, obstacles = config["cores"], config["obstacles"]
    env.cores[:] = [
        Core(*centre, clockwise, Gamma)
        for centre, clockwise, Gamma in zip(*(cores[key] for key in CORE_KEYS), strict=False)
    ]
    env.index_cores()
    env.obstacles[:] = [
        Obstacle(*centre, r) for centre, r in zip(*(obstacles[key] for key in OBSTACLE_KEYS), strict=False)
    ]
    env.robots.clear()
    for i in range(config["num_robots"]):
        robot = env.draw_robot()
        _load_robot(robot, data["robots"], i)
        robot.reset_state(env.get_velocity(*robot.start))
        env.robots.append(robot)


def _load_robot(robot: Robot, robots: Mapping[str, Any], index: int) -> None:
    for key in ROBOT_KEYS:
        value = robots[key][index]
        setattr(robot, key, np.array(value, dtype=float) if key in ARRAY_KEYS else value)
    for key in PERCEPTION_KEYS:
        setattr(robot.perception, key, robots["perception"][key][index])
    robot.compute_actions()
    robot.compute_constant_matrices()


def validate_episode(data: Mapping[str, Any]) -> None:
    """Check that an episode dictionary can be loaded.

    Raises:
        KeyError: a key is missing.
        IndexError: a list has fewer entries than the scenario needs.
        ValueError: a noise deviation is negative.
    """
    _require(data, ("env", "robots"), "")
    env, robots = data["env"], data["robots"]
    _require(env, (*ENV_KEYS, "num_robots", "cores", "obstacles"), "env.")
    for group, keys in (("cores", CORE_KEYS), ("obstacles", OBSTACLE_KEYS)):
        _require(env[group], keys, f"env.{group}.")
        _require_entries(env[group], keys, len(env[group]["positions"]), f"env.{group}.")
    _require(robots, (*ROBOT_KEYS, "perception"), "robots.")
    _require(robots["perception"], PERCEPTION_KEYS, "robots.perception.")
    _require_entries(robots, ROBOT_KEYS, env["num_robots"], "robots.")
    _require_entries(robots["perception"], PERCEPTION_KEYS, env["num_robots"], "robots.perception.")
    for key in ("pos_std", "vel_std"):
        for value in robots["perception"][key][: env["num_robots"]]:
            if value < 0:
                raise ValueError(f"episode: robots.perception.{key} is {value}; at least 0 is allowed")


def _require(data: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key not in data:
            raise KeyError(f"episode: {where}{key} is missing; required: {', '.join(keys)}")


def _require_entries(data: Mapping[str, Any], keys: tuple[str, ...], number: int, where: str) -> None:
    for key in keys:
        if len(data[key]) < number:
            raise IndexError(f"episode: {where}{key} has {len(data[key])} entries; {number} are needed")


def write_episode(data: Any, filename: str | os.PathLike[str]) -> None:
    """Write an episode dictionary, or a list of them, as JSON; the file appears complete or not at all.

    Raises:
        TypeError: the data hold NumPy values (Quirk W24).
        OSError: the file cannot be written.
    """
    text = json.dumps(data)
    path = Path(filename)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise
    finally:
        with suppress(OSError):  # nothing there, or a read-only disk
            aside.unlink()


def read_episodes(filename: str | os.PathLike[str]) -> list[Episode]:
    """Read and validate the episodes of a JSON file that holds one dictionary or a list of them.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no JSON, or holds something else or values out of range.
        KeyError: a key is missing.
        IndexError: a list has fewer entries than the scenario needs.
    """
    data = json.loads(Path(filename).read_text(encoding="utf-8"))
    episodes = [data] if isinstance(data, dict) else data
    if not isinstance(episodes, list) or not all(isinstance(item, dict) for item in episodes):
        raise ValueError(f"{filename}: one episode dictionary or a list of them is needed")
    for item in episodes:
        validate_episode(item)
    return episodes
