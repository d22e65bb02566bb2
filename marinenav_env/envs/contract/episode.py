"""Episode dictionaries: schema, files and checks of scenarios with histories (environment spec 13).

A dictionary has the keys "env" (map, rewards, vortices, obstacles) and "robots" (lists, one entry per robot).
An evaluation set is a JSON list of such dictionaries. Each world reads and writes its own.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marinenav_env.envs.contract.rewards import DEFAULT_REWARDS, LATER, REWARDS
from marinenav_env.files import write_text

Episode = dict[str, dict[str, Any]]

ENV_KEYS = (
    "seed", "is_eval_env", "width", "height", "r", "v_rel_max", "p", "v_range", "obs_r_range", "clear_r",
    "angular_speed_max", "angular_speed_penalty", *REWARDS,
)  # fmt: skip
"""Constants of a map and its rewards."""
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


def read_constants(env: Mapping[str, Any]) -> dict[str, Any]:
    """The constants of an "env" dictionary; rewards that an old file lacks take their defaults."""
    return {key: env[key] if key in env else DEFAULT_REWARDS[key] for key in ENV_KEYS}


def written_constants(constants: Mapping[str, Any]) -> dict[str, Any]:
    """The constants that an "env" dictionary holds: files look as they always have while a term is off."""
    return {
        key: constants[key] for key in ENV_KEYS if key not in LATER or constants[key] != DEFAULT_REWARDS[key]
    }


def things_in(episode: Mapping[str, Mapping[str, Any]]) -> tuple[int, int, int]:
    """How many robots, cores and obstacles an episode really has (`num_robots` is what was asked for)."""
    env = episode["env"]
    lists = (episode["robots"]["dt"], env["cores"]["positions"], env["obstacles"]["positions"])
    return tuple(map(len, lists))


def validate_episode(data: Mapping[str, Any]) -> None:
    """Check that an episode dictionary can be loaded.

    Raises:
        KeyError: a key is missing.
        IndexError: a list has fewer entries than the scenario needs.
        ValueError: a noise deviation or a number of objects is negative.
    """
    _require(data, ("env", "robots"), "")
    env, robots = data["env"], data["robots"]
    required = [key for key in ENV_KEYS if key not in LATER]
    _require(env, (*required, "num_robots", "cores", "obstacles"), "env.")
    for group, keys in (("cores", CORE_KEYS), ("obstacles", OBSTACLE_KEYS)):
        _require(env[group], keys, f"env.{group}.")
        _require_entries(env[group], keys, len(env[group]["positions"]), f"env.{group}.")
    _require(robots, (*ROBOT_KEYS, "perception"), "robots.")
    _require(robots["perception"], PERCEPTION_KEYS, "robots.perception.")
    _require_entries(robots, ROBOT_KEYS, env["num_robots"], "robots.")
    _require_entries(robots["perception"], PERCEPTION_KEYS, env["num_robots"], "robots.perception.")
    for key in ("pos_std", "vel_std", "max_obj_num"):
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
    write_text(filename, json.dumps(data))


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
