"""Reading of episode dictionaries for drawing, and a world of the drawer's own for each."""

import json
from pathlib import Path
from typing import Any

from marinenav_env.envs import episode as schema
from marinenav_env.envs.marinenav_env import MarineNavEnv3
from scripts.command_line import InputError, existing_file

Episode = dict[str, Any]


def read_json(path: Path) -> Any:
    """Content of a JSON file; InputError when it is none."""
    existing_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None


def read_episodes(path: Path) -> list[Episode]:
    """Episode dictionaries of a file that holds one, or a list of them as ``eval_configs.json`` does.

    Raises:
        InputError: The file is missing or holds something else.
    """
    existing_file(path)
    try:
        episodes = schema.read_episodes(path)
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: not an episode dictionary or a list of them: {reason(error)}") from None
    if not episodes:
        raise InputError(f"{path}: the list of episodes is empty")
    return episodes


def reason(error: Exception) -> str:
    """Text of an error on one line; KeyError would put it into quotes."""
    return " ".join(str(error.args[0] if error.args else error).split())


def world_of(episode: Episode, where: str) -> MarineNavEnv3:
    """Load an episode into a new world that belongs to the drawing alone.

    Raises:
        InputError: A value has the wrong kind; the message begins with ``where``.
    """
    world = MarineNavEnv3()
    try:
        world.reset_with_eval_config(episode)
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{where}: cannot be loaded as an episode: {reason(error)}") from None
    return world
