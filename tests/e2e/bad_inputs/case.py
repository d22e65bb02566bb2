"""One bad input, and the ways to make one in the current folder, where everything else is good."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Spoil = Callable[[], object]
CONFIG = {
    "seed": 3,
    "total_timesteps": 40,
    "eval_freq": 20,
    "save_dir": "runs",
    "training_schedule": {
        "timesteps": [0, 20],
        "num_robots": [1, 1],
        "num_cores": [0, 0],
        "num_obstacles": [0, 0],
        "min_start_goal_dis": [8.0, 8.0],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [8.0],
    },
    "imitation_learning": False,
    "agent_type": "DQN",
    "learning_starts": 30,
    "batch_size": 8,
    "buffer_size": 1000,
}


class Case(NamedTuple):
    """One bad input.

    Attributes:
        what: What is wrong, in words.
        command: Command line; its first word is a key of `playing.MAINS`.
        spoil: Makes the input bad, in the current folder.
        says: Part of the message.
        status: Exit status.
        disk: Empty, or what the folder ``disk`` is: ``"full"`` or ``"read-only"``.
    """

    what: str
    command: str
    spoil: Spoil
    says: str
    status: int = 2
    disk: str = ""


MISSING = object()
"""Value of a key that `config` leaves out."""


def nothing() -> None:
    """The command line alone is bad."""


HUGE = 10**30
TRAIN = "train_torchrl_gpu -C config.json"


def config(**changes: Any) -> Spoil:
    """A config with some keys changed."""
    written = {key: value for key, value in (CONFIG | changes).items() if value is not MISSING}
    return text("config.json", json.dumps(written))


def training(**changes: Any) -> Spoil:
    """A config with some lists of its training schedule changed."""
    return config(training_schedule=CONFIG["training_schedule"] | changes)


def evaluated(**changes: Any) -> Spoil:
    """A config with some lists of its evaluation schedule changed."""
    return config(eval_schedule=CONFIG["eval_schedule"] | changes)


def text(path: str, content: str | bytes) -> Spoil:
    """A file with other content."""
    return lambda: Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def cut(path: str) -> Spoil:
    """A file of which only the first half is there."""
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[: Path(path).stat().st_size // 2])


def flipped(path: str) -> Spoil:
    """A file with one wrong bit."""

    def spoil() -> None:
        content = bytearray(Path(path).read_bytes())
        content[len(content) // 2] ^= 1
        Path(path).write_bytes(content)

    return spoil


def removed(path: str) -> Spoil:
    """A file that is not there."""
    return lambda: Path(path).unlink()


def edited(path: str, edit: Callable[[Any], object]) -> Spoil:
    """A JSON file whose content was edited in place."""

    def spoil() -> None:
        content = json.loads(Path(path).read_text())
        edit(content)
        Path(path).write_text(json.dumps(content))

    return spoil


def member(path: str, name: str, content: bytes) -> Spoil:
    """An archive with one member replaced."""

    def spoil() -> None:
        with zipfile.ZipFile(path) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        (found,) = [each for each in members if each.endswith(name)]
        members[found] = content
        with zipfile.ZipFile(path, "w") as archive:
            for each, data in members.items():
                archive.writestr(each, data)

    return spoil


class Hostile:
    """Unpickled by a reader that runs code, it makes a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def object_array(payload: bytes) -> bytes:
    """A member of an ``.npz`` file that says it holds Python objects."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return file.getvalue() + payload


def and_then(*spoils: Spoil) -> Spoil:
    """Several changes."""
    return lambda: [spoil() for spoil in spoils]
