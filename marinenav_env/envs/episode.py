"""Episode dictionaries: the schema of scenarios and histories, read, written and validated (environment spec 13).

A dictionary has the keys "env" (map, rewards, vortices, obstacles) and "robots" (one list entry per robot).
An evaluation set is a JSON list of such dictionaries.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marinenav_env.envs.utils.robot import Robot

if TYPE_CHECKING:
    from marinenav_env.envs.marinenav_env import MarineNavEnv3

Episode = dict[str, dict[str, Any]]

ENV_KEYS = (
    "seed", "is_eval_env", "width", "height", "r", "v_rel_max", "p", "v_range", "obs_r_range", "clear_r",
    "angular_speed_max", "angular_speed_penalty", "timestep_penalty", "COLREGs_penalty", "collision_penalty",
    "goal_reward",
)  # fmt: skip
CORE_KEYS = ("positions", "clockwise", "Gamma")
OBSTACLE_KEYS = ("positions", "r")
VESSEL_KEYS = (
    "dt", "N", "length", "width", "detect_r", "r", "goal_dis", "power_coefficient", "min_thrust", "max_thrust",
)  # fmt: skip
ACTION_KEYS = ("left_thrust_change", "right_thrust_change")
HYDRODYNAMIC_KEYS = (
    "m", "Izz", "xDotU", "yDotV", "yDotR", "nDotR", "nDotV", "xU", "xUU", "yV", "yVV", "yR", "yRV", "yVR", "yRR",
    "nR", "nRR", "nV", "nVV", "nRV", "nVR",
)  # fmt: skip
POINT_KEYS = ("start", "goal")
THRUSTER_KEYS = ("init_left_pos", "init_right_pos", "init_left_thrust", "init_right_thrust")
PERCEPTION_KEYS = ("range", "angle", "max_obj_num", "pos_std", "vel_std", "r_kappa", "r_mean_ratio")
HISTORY_KEYS = ("observation_history", "action_history", "trajectory")

SCALAR_KEYS = (*VESSEL_KEYS, *HYDRODYNAMIC_KEYS, "init_theta", *THRUSTER_KEYS)
ARRAY_KEYS = (*ACTION_KEYS, *POINT_KEYS, "init_velocity_r")
LOADED_KEYS = (
    *VESSEL_KEYS, *ACTION_KEYS, *HYDRODYNAMIC_KEYS, *POINT_KEYS, "init_theta", "init_velocity_r", *THRUSTER_KEYS,
)  # fmt: skip
"""Per robot, in the order of the file; the perception and the histories follow."""


def episode_data(env: "MarineNavEnv3") -> Episode:
    """Describe the scenario and histories of an environment.

    Quirk Q27: `num_robots` is the attribute, not the number of robots.
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
    def listed(key: str) -> list[Any]:
        values = [getattr(robot, key) for robot in robots]
        return [list(map(float, value)) for value in values] if key in ARRAY_KEYS else values

    data: dict[str, Any] = {key: listed(key) for key in LOADED_KEYS}
    data["perception"] = {
        key: [getattr(robot.perception, key) for robot in robots] for key in PERCEPTION_KEYS
    }
    data.update({key: [deepcopy(getattr(robot, key)) for robot in robots] for key in HISTORY_KEYS})
    return data


def env_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that an episode dictionary restores on the environment, as copies."""
    return {key: deepcopy(config[key]) for key in ENV_KEYS}


def load_robot(robot: Robot, config: Mapping[str, Any], index: int) -> None:
    """Give a new robot the parameters and the initial condition of robot `index` of a dictionary's "robots"."""
    for key in SCALAR_KEYS:
        setattr(robot, key, config[key][index])
    for key in ARRAY_KEYS:
        setattr(robot, key, np.array(config[key][index], dtype=float))
    for key in PERCEPTION_KEYS:
        setattr(robot.perception, key, config["perception"][key][index])
    robot.compute_actions()
    robot.compute_constant_matrices()


def validate_episode(data: Mapping[str, Any]) -> None:
    """Check that an episode dictionary can be loaded.

    Raises:
        KeyError: a key is missing.
        IndexError: a list has fewer entries than the scenario needs.
    """
    _require(data, ("env", "robots"), "")
    env, robots = data["env"], data["robots"]
    _require(env, (*ENV_KEYS, "num_robots", "cores", "obstacles"), "env.")
    for group, keys in (("cores", CORE_KEYS), ("obstacles", OBSTACLE_KEYS)):
        _require(env[group], keys, f"env.{group}.")
        _require_entries(env[group], keys, len(env[group]["positions"]), f"env.{group}.")
    _require(robots, (*LOADED_KEYS, "perception"), "robots.")
    _require(robots["perception"], PERCEPTION_KEYS, "robots.perception.")
    _require_entries(robots, LOADED_KEYS, env["num_robots"], "robots.")
    _require_entries(robots["perception"], PERCEPTION_KEYS, env["num_robots"], "robots.perception.")


def _require(data: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key not in data:
            raise KeyError(f"episode dictionary: {where}{key} is missing; required here: {', '.join(keys)}")


def _require_entries(data: Mapping[str, Any], keys: tuple[str, ...], number: int, where: str) -> None:
    for key in keys:
        if len(data[key]) < number:
            raise IndexError(
                f"episode dictionary: {where}{key} has {len(data[key])} entries, {number} are needed"
            )


def write_episode(data: Any, filename: str | os.PathLike[str]) -> None:
    """Write an episode dictionary, or a list of them, as JSON; the file appears complete or not at all.

    Raises:
        TypeError: the data hold NumPy values (Quirk Q24).
    """
    text = json.dumps(data)
    path = Path(filename)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def read_episodes(filename: str | os.PathLike[str]) -> list[Episode]:
    """Read and validate the episodes of a JSON file that holds one dictionary or a list of them.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no JSON, or holds something else.
        KeyError: a key is missing.
        IndexError: a list has fewer entries than the scenario needs.
    """
    data = json.loads(Path(filename).read_text(encoding="utf-8"))
    episodes = [data] if isinstance(data, dict) else data
    if not isinstance(episodes, list) or not all(isinstance(item, dict) for item in episodes):
        raise ValueError(f"{filename}: expected one episode dictionary or a list of them")
    for item in episodes:
        validate_episode(item)
    return episodes
