"""The folder of a trial: owned by one process at a time, and marked when its trial is done."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.files import replacing

LOCK_FILE = ".lock"
FINISHED_FILE = "finished.json"


class FolderInUseError(RuntimeError):
    """Another process writes into the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Own a folder within the block. The system lets go of it however the process ends.

    Raises:
        FolderInUseError: Another process owns it.
    """
    with open(folder / LOCK_FILE, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(f"another run writes into {folder}") from None
        yield


def mark_finished(folder: Path, timesteps: int, updates: int) -> None:
    """Note that the trial of a folder has reached its end."""
    with replacing(folder / FINISHED_FILE, "w") as file:
        json.dump({"timesteps": timesteps, "updates": updates}, file)


def is_finished(folder: Path) -> bool:
    """Whether the trial of a folder has reached its end."""
    return (folder / FINISHED_FILE).is_file()
