"""Reading of episode dictionaries for drawing, and a world of the drawer's own for each."""

import json
from pathlib import Path
from typing import Any

from marinenav_env.envs.contract import episode as schema
from marinenav_env.envs.reference.world import MarineNavEnv3
from scripts.command_line import InputError, check_file, reason

Episode = dict[str, Any]

ROBOT_DIMENSIONS = ("dt", "N", "length", "width", "r", "goal_dis", "max_thrust")
LARGEST = 1e6


def read_json(path: Path) -> Any:
    """Content of a JSON file; InputError when it is none."""
    check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None


def read_episodes(path: Path) -> list[Episode]:
    """Episode dictionaries of a file that holds one, or a list of them as ``eval_configs.json`` does."""
    check_file(path)
    try:
        episodes = schema.read_episodes(path)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not an episode dictionary or a list of them: {reason(error)}") from None
    if not episodes:
        raise InputError(f"{path}: the list of episodes is empty")
    return episodes


def world_of(episode: Episode, where: str) -> MarineNavEnv3:
    """Load an episode into a new world that belongs to the drawing alone; errors begin with ``where``."""
    world = MarineNavEnv3()
    try:
        world.reset_with_eval_config(episode)
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{where}: cannot be loaded as an episode: {reason(error)}") from None
    check_dimensions(world, where)
    return world


def check_dimensions(world: MarineNavEnv3, where: str) -> None:
    """Raise InputError unless everything that scales a drawing is a positive number of sensible size."""
    if not isinstance(world.v_range, list) or len(world.v_range) != 2:
        raise InputError(f"{where}: env.v_range is {world.v_range!r}, must be two speeds")
    numbers = {f"env.{name}": getattr(world, name) for name in ("width", "height", "r")}
    numbers["env.v_range[1]"] = world.v_range[1]
    for i, robot in enumerate(world.robots):
        numbers |= {f"robots.{name}[{i}]": getattr(robot, name) for name in ROBOT_DIMENSIONS}
        numbers |= {f"robots.perception.{n}[{i}]": getattr(robot.perception, n) for n in ("range", "angle")}
    numbers |= {f"env.obstacles.r[{i}]": disc.r for i, disc in enumerate(world.obstacles)}
    for i, robot in enumerate(world.robots):
        if not isinstance(robot.min_thrust, int | float) or not -LARGEST < robot.min_thrust <= 0.0:
            raise InputError(
                f"{where}: robots.min_thrust[{i}] is {robot.min_thrust!r}, must be 0 or a negative number"
            )
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not 0.0 < value < LARGEST:
            raise InputError(f"{where}: {name} is {value!r}, must be a number above 0 and below {LARGEST:g}")
