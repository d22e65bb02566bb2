"""The whole state of a `MarineNavEnv3` as plain data, to go on later from the very same step.

An episode dictionary describes a scenario and its histories; a snapshot also holds where everybody is now and
where every random stream stands.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.scenario import Core, Obstacle

if TYPE_CHECKING:
    from marinenav_env.envs.reference.world import MarineNavEnv3

Snapshot = dict[str, Any]

PARTS = ("rd", "robots", "cores", "obstacles")
"""Attributes of the world that are stored by their own state."""
GIVEN = ("schedule", "verbose", "core_centers")
"""Attributes that its constructor, its owner, or its cores determine."""


def snapshot(world: "MarineNavEnv3") -> Snapshot:
    """State of a world: numbers, strings, arrays, and lists and dictionaries of them; not copied."""
    return {
        "attributes": _without(vars(world), *PARTS, *GIVEN),
        "rd": stream_state(world.rd),
        "robots": [_robot_state(robot) for robot in world.robots],
        "cores": [vars(core) for core in world.cores],
        "obstacles": [vars(obstacle) for obstacle in world.obstacles],
    }


def restore(world: "MarineNavEnv3", state: Snapshot) -> None:
    """Give a world of the same construction the state of a `snapshot`, which it keeps and writes into.

    Raises:
        KeyError: a part of the snapshot is missing.
    """
    vars(world).update(state["attributes"])
    world.rd.set_state(_to_legacy(state["rd"]))
    world.robots[:] = [_restored_robot(each) for each in state["robots"]]
    world.cores[:] = [Core(**each) for each in state["cores"]]
    world.obstacles[:] = [Obstacle(**each) for each in state["obstacles"]]
    world.index_cores()


def stream_state(stream: np.random.RandomState) -> dict[str, Any]:
    """State of a random stream, the second number of its last pair of normals included."""
    name, words, position, has_gauss, gauss = stream.get_state()
    words = words.astype(np.int64)  # a type that every tensor format knows
    return {"name": name, "words": words, "position": position, "has_gauss": has_gauss, "gauss": gauss}


def _to_legacy(state: dict[str, Any]) -> tuple:
    words = np.asarray(state["words"]).astype(np.uint32)
    return state["name"], words, state["position"], state["has_gauss"], state["gauss"]


def _robot_state(robot: Robot) -> dict[str, Any]:
    perception = robot.perception
    return {
        "attributes": _without(vars(robot), "perception"),
        "perception": _without(vars(perception), "rd"),
        "rd": stream_state(perception.rd),
    }


def _restored_robot(state: dict[str, Any]) -> Robot:
    robot = Robot(state["perception"]["seed"])
    vars(robot).update(state["attributes"])
    vars(robot.perception).update(state["perception"])
    robot.perception.rd.set_state(_to_legacy(state["rd"]))
    return robot


def _without(attributes: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in names}
