"""Episode dictionaries of many environments as tensors, and back (environment spec 13)."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import THRUST_CHANGES
from marinenav_env.envs.contract.episode import (
    ENV_KEYS,
    PERCEPTION_KEYS,
    ROBOT_KEYS,
    read_constants,
    validate_episode,
    written_constants,
)
from marinenav_env.envs.contract.layout import OBJECT_ROWS
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.world import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.ops.current import core_strength, current
from marinenav_env.envs.torchrl_gpu.state import (
    CORE_CLOCKWISE,
    CORE_GAMMA,
    CORES,
    GROUND_X,
    GROUND_Y,
    GROUND_YAW,
    LEFT,
    MOTION_SIZE,
    OBSTACLES,
    RIGHT,
    ROBOTS,
    THETA,
    WATER_X,
    WATER_YAW,
    MapParams,
    RobotParams,
    Scenario,
    WorldParams,
    X,
    Y,
)

INTEGER_PARAMS = ("N", "max_obj_num")
THRUSTER_ANGLES = ("left_pos", "right_pos")
THRUST_KEYS = ("left_thrust_change", "right_thrust_change")

FARTHEST = 1e6
"""Sensor range (m) up to which gaps are ranked exactly and what is absent is out of sight."""

Constants = dict[str, Any]


class EpisodeTensors(NamedTuple):
    """E episode dictionaries on the CPU in float64."""

    scenario: Scenario
    robot: Tensor  # rows of `RobotParams`, [40, R, E]
    thrust_change: Tensor  # [2, 5, R, E] (N/s)
    constants: list[Constants]  # the other entries of each "env" dictionary, as they were


def read_episodes(
    episodes: list[dict], max_robots: int, max_cores: int, max_obstacles: int
) -> EpisodeTensors:
    """Lay episode dictionaries out as tensors of R robots; slots for cores and obstacles grow where needed.

    Quirk W25: unlike after a plain reset, the initial velocity over ground includes the current.

    Raises:
        KeyError: a key is missing.
        IndexError: a list has fewer entries than the scenario needs.
        ValueError: more robots than `max_robots`, a number that is not finite, or a constant that this world
            cannot carry.
    """
    for k, episode in enumerate(episodes):
        validate_episode(episode)
        _check(k, episode, max_robots)
    envs = [episode["env"] for episode in episodes]
    sizes = (
        max_robots,
        max(max_cores, *(len(env["cores"]["positions"]) for env in envs)),
        max(max_obstacles, *(len(env["obstacles"]["positions"]) for env in envs)),
    )
    default = default_params(len(envs))
    tensors = EpisodeTensors(
        scenario=_empty_scenario(sizes, len(episodes)),
        robot=default.robot.repeat(1, max_robots, len(envs)),
        thrust_change=default.thrust_change.repeat(1, 1, max_robots, len(envs)),
        constants=[read_constants(env) for env in envs],
    )
    for k, episode in enumerate(episodes):
        _read_map(episode["env"], tensors.scenario, k)
        _read_robots(episode["robots"], episode["env"]["num_robots"], tensors, k)
    _check_finite(tensors.scenario)
    _add_current(tensors)
    return tensors


def write_episodes(tensors: EpisodeTensors) -> list[dict]:
    """Episode dictionaries of all environments, with the trajectories at their first row.

    `num_robots` is the number that exists, so that all can be loaded again (not so Quirk W27). One set of
    robot constants may stand for all, [40, 1, 1].
    """
    size = tensors.scenario.goal.shape[1:]
    tensors = tensors._replace(
        robot=tensors.robot.expand(-1, *size), thrust_change=tensors.thrust_change.expand(-1, -1, *size)
    )
    return [{"env": _write_map(tensors, k), "robots": _write_robots(tensors, k)} for k in range(size[1])]


def default_constants() -> Constants:
    """Constants of a new `MarineNavEnv3`, as an episode dictionary holds them."""
    env = MarineNavEnv3()
    return {key: getattr(env, key) for key in ENV_KEYS}


def default_params(num_envs: int) -> WorldParams:
    """Constants of new robots, all alike, [.., 1, 1], and of `num_envs` new maps; float64 on the CPU."""
    one = _default_params()
    return WorldParams(one.robot.clone(), one.thrust_change.clone(), one.map.repeat(1, num_envs))


@cache  # every reset and every draw asks, and a world takes 5 ms to build
def _default_params() -> WorldParams:
    robot = Robot()
    values = [_default(robot, name) for name in RobotParams._fields]
    change = np.stack([getattr(robot, key) for key in THRUST_KEYS])
    return WorldParams(
        robot=torch.tensor(values, dtype=torch.float64)[:, None, None],
        thrust_change=torch.tensor(change, dtype=torch.float64)[..., None, None],
        map=map_params([default_constants()]),
    )


def _default(robot: Robot, name: str) -> float:
    if name in PERCEPTION_KEYS:
        return getattr(robot.perception, name)
    return getattr(robot, f"init_{name}" if name in THRUSTER_ANGLES else name)


def map_params(constants: list[Constants]) -> Tensor:
    """Rows of `MapParams` from the "env" constants of each environment, float64 [M, E]."""
    return torch.tensor([_map_row(entry) for entry in constants], dtype=torch.float64).T.contiguous()


def _map_row(constants: Constants) -> list[float]:
    ranges = dict(zip(("v_low", "v_high"), constants["v_range"], strict=True))
    ranges |= dict(zip(("obs_r_low", "obs_r_high"), constants["obs_r_range"], strict=True))
    return [float(ranges[key] if key in ranges else constants[key]) for key in MapParams._fields]


def _check(k: int, episode: dict, max_robots: int) -> None:
    number, robots = episode["env"]["num_robots"], episode["robots"]
    if not 1 <= number <= max_robots:
        raise ValueError(f"num_robots is {number} in episode {k}; allowed are 1 to max_robots={max_robots}")
    if (most := max(robots["perception"]["max_obj_num"][:number])) > OBJECT_ROWS:
        raise ValueError(f"max_obj_num is {most} in episode {k}; allowed are 0 to {OBJECT_ROWS}")
    for value in robots["perception"]["range"][:number]:
        if not 0 <= value <= FARTHEST:
            raise ValueError(f"range is {value} in episode {k}; allowed are 0 to {FARTHEST:.0f} m")
    for value in robots["perception"]["angle"][:number]:
        if not value >= 0:
            raise ValueError(f"angle is {value} in episode {k}; allowed are 0 and more")
    for key in THRUST_KEYS:
        if any(len(values) != len(THRUST_CHANGES) for values in robots[key][:number]):
            raise ValueError(
                f"{key} of episode {k} is {robots[key]}; allowed are {len(THRUST_CHANGES)} values"
            )


def _check_finite(scenario: Scenario) -> None:
    for name, numbers in zip(Scenario._fields, scenario, strict=True):
        if not bool(numbers.isfinite().all()):
            episode = int((~numbers.isfinite()).nonzero()[0, -1])
            what = {"initial": "start, yaw, velocity or thrust"}.get(name, name)
            raise ValueError(f"{what} of episode {episode} is not finite; allowed are finite numbers")


def _empty_scenario(sizes: tuple[int, int, int], num_envs: int) -> Scenario:
    robots, cores, obstacles = sizes
    return Scenario(
        initial=torch.zeros(MOTION_SIZE, robots, num_envs, dtype=torch.float64),
        goal=torch.zeros(2, robots, num_envs, dtype=torch.float64),
        cores=torch.zeros(4, cores, num_envs, dtype=torch.float64),
        obstacles=torch.zeros(3, obstacles, num_envs, dtype=torch.float64),
        counts=torch.zeros(3, num_envs, dtype=torch.int32),
    )


def _read_map(env: Constants, scenario: Scenario, k: int) -> None:
    cores, obstacles = env["cores"], env["obstacles"]
    num_cores, num_obstacles = len(cores["positions"]), len(obstacles["positions"])
    scenario.counts[:, k] = torch.tensor([env["num_robots"], num_cores, num_obstacles])
    if num_cores:
        scenario.cores[:2, :num_cores, k] = torch.tensor(cores["positions"], dtype=torch.float64).T
        scenario.cores[CORE_CLOCKWISE, :num_cores, k] = torch.tensor(
            [float(bool(c)) for c in cores["clockwise"][:num_cores]]
        )
        scenario.cores[CORE_GAMMA, :num_cores, k] = torch.tensor(
            cores["Gamma"][:num_cores], dtype=torch.float64
        )
    if num_obstacles:
        scenario.obstacles[:2, :num_obstacles, k] = torch.tensor(
            obstacles["positions"], dtype=torch.float64
        ).T
        scenario.obstacles[2, :num_obstacles, k] = torch.tensor(
            obstacles["r"][:num_obstacles], dtype=torch.float64
        )


def _read_robots(robots: Constants, number: int, tensors: EpisodeTensors, k: int) -> None:
    def rows(values: list) -> Tensor:
        return torch.tensor(values[:number], dtype=torch.float64).movedim(0, -1)

    initial, goal = tensors.scenario.initial[:, :number, k], tensors.scenario.goal[:, :number, k]
    initial[[X, Y]], goal[:] = rows(robots["start"]), rows(robots["goal"])
    initial[THETA] = rows(robots["init_theta"])
    initial[WATER_X : WATER_YAW + 1] = rows(robots["init_velocity_r"])
    initial[LEFT], initial[RIGHT] = rows(robots["init_left_thrust"]), rows(robots["init_right_thrust"])
    for row, name in enumerate(RobotParams._fields):
        tensors.robot[row, :number, k] = rows(_param_list(robots, name))
    for side, key in enumerate(THRUST_KEYS):
        tensors.thrust_change[side, :, :number, k] = rows(robots[key])


def _param_list(robots: Constants, name: str) -> list:
    if name in PERCEPTION_KEYS:
        return robots["perception"][name]
    return robots[f"init_{name}" if name in THRUSTER_ANGLES else name]


def _add_current(tensors: EpisodeTensors) -> None:
    initial, cores = tensors.scenario.initial, tensors.scenario.cores
    core_r = MapParams(*map_params(tensors.constants)).r
    current_x, current_y = current(initial[X], initial[Y], cores, core_strength(cores), core_r)
    initial[GROUND_X : GROUND_YAW + 1] = initial[WATER_X : WATER_YAW + 1]
    initial[GROUND_X] += current_x
    initial[GROUND_Y] += current_y


def _write_map(tensors: EpisodeTensors, k: int) -> Constants:
    scenario = tensors.scenario
    cores = scenario.cores[:, : scenario.counts[CORES, k], k]
    obstacles = scenario.obstacles[:, : scenario.counts[OBSTACLES, k], k]
    return {
        **written_constants(tensors.constants[k]),
        "num_robots": int(scenario.counts[ROBOTS, k]),
        "cores": {
            "positions": cores[:2].T.tolist(),
            "clockwise": cores[CORE_CLOCKWISE].int().tolist(),
            "Gamma": cores[CORE_GAMMA].tolist(),
        },
        "obstacles": {"positions": obstacles[:2].T.tolist(), "r": obstacles[2].tolist()},
    }


def _write_robots(tensors: EpisodeTensors, k: int) -> Constants:
    number = int(tensors.scenario.counts[ROBOTS, k])
    initial, goal = tensors.scenario.initial[:, :number, k], tensors.scenario.goal[:, :number, k]
    params = dict(zip(RobotParams._fields, tensors.robot[:, :number, k].tolist(), strict=True))
    for key in INTEGER_PARAMS:
        params[key] = [round(value) for value in params[key]]
    perception = {key: params.pop(key) for key in PERCEPTION_KEYS}
    angles = {f"init_{key}": params.pop(key) for key in THRUSTER_ANGLES}
    left, right = (change[:, :number, k].T.tolist() for change in tensors.thrust_change)
    row = [*range(LEFT), LEFT, LEFT, LEFT, RIGHT]
    trajectory = initial[row].T
    trajectory[:, 9] = torch.tensor(angles["init_left_pos"])
    trajectory[:, 10] = torch.tensor(angles["init_right_pos"])
    data = {
        **params,
        "left_thrust_change": left,
        "right_thrust_change": right,
        "start": initial[[X, Y]].T.tolist(),
        "goal": goal.T.tolist(),
        "init_theta": initial[THETA].tolist(),
        "init_velocity_r": initial[WATER_X : WATER_YAW + 1].T.tolist(),
        **angles,
        "init_left_thrust": initial[LEFT].tolist(),
        "init_right_thrust": initial[RIGHT].tolist(),
    }
    return {
        **{key: data[key] for key in ROBOT_KEYS},
        "perception": perception,
        "observation_history": [[] for _ in range(number)],
        "action_history": [[] for _ in range(number)],
        "trajectory": [[values] for values in trajectory.tolist()],
    }
