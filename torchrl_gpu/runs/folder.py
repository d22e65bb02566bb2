"""The folder of a run, its own alone, and of a trial: owned by one process at a time, marked when done."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from marinenav_env.files import write_text
from torchrl_gpu.settings.parse import ConfigError, Experiment

CONFIG_FILE = "config.json"
"""The config of a run as written, in its folder."""

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints of a trial."""

LOCK_FILE = ".lock"
BEAT = 1.0
"""Seconds between two signs of life, at least."""
MOMENT = 0.2
"""Seconds for which a look at a lock may keep others from it, at most."""
FINISHED_FILE = "finished.json"
STOPPED_FILE = "stopped.json"
"""In the folder of a trial that its search has stopped early."""
FAILURE_FILE = "failure.txt"
"""Traceback of a trial that failed, in its folder."""

TRIAL_FILE = "trial_config.json"
"""What describes a trial in its folder."""


class FolderInUseError(RuntimeError):
    """Another process writes into the folder."""


def create_run_folders(experiment: Experiment, keep_config: bool) -> str:
    """Create ``<save_dir>/training_<stamp>``; returns the time stamp, one that no other run has taken."""
    roots = sorted({trial["save_dir"] for trial in experiment.trials})
    while True:
        stamp = datetime.now().strftime("%Y-%m-%d-%H-%M-%S")
        try:
            with ExitStack() as undo:
                for root in roots:
                    folder = Path(root, f"training_{stamp}")
                    create_folder(folder, undo)
                    if keep_config:
                        undo.callback((folder / CONFIG_FILE).unlink, missing_ok=True)
                        written = experiment.written | {"save_dir": root}
                        write_text(folder / CONFIG_FILE, json.dumps(written))
                undo.pop_all()
            return stamp
        except FileExistsError as error:
            if not Path(error.filename).is_dir():
                raise ConfigError(f"key 'save_dir': {error.filename} is a file, not a folder") from None
            time.sleep(0.2)  # another run of this second owns it: two runs never share a folder
        except OSError as error:
            raise ConfigError(f"key 'save_dir': cannot create a folder: {error}") from None


def create_folder(folder: Path, undo: ExitStack) -> None:
    """Create a new folder, and those above it that are missing; ``undo`` removes what was created."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    for path in (*reversed(missing), folder):
        path.mkdir(exist_ok=path != folder)
        undo.callback(remove_if_empty, path)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder, unless another run has written into it meanwhile."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Own a folder within the block, or raise FolderInUseError; however the process ends, it lets go.

    Gives what is to be called at every step, as a sign of life: the time of the lock file, see `last_sign`.
    """
    with open(folder / LOCK_FILE, "w") as lock:
        _lock(lock, folder)
        last = -BEAT

        def beat() -> None:
            nonlocal last
            if time.monotonic() - last >= BEAT:
                last = time.monotonic()
                with suppress(OSError):  # a disk that others have to mend; a full one takes it
                    os.utime(lock.fileno())

        beat()
        yield beat


def _lock(file: TextIO, folder: Path) -> None:
    """Lock a file that one who only looks, see `is_locked`, may hold for a moment."""
    end = time.monotonic() + MOMENT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise FolderInUseError(f"another run writes into {folder}") from None
            time.sleep(MOMENT / 20)


def is_locked(folder: Path) -> bool:
    """Whether a process owns a folder."""
    try:
        with open(folder / LOCK_FILE) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def last_sign(folder: Path) -> int | None:
    """When the process that owns a folder, or did, last made a step; None: nobody has owned it yet.

    In nanoseconds, by the clock of whoever keeps the file: good to see whether it changes, no more.
    """
    try:
        return (folder / LOCK_FILE).stat().st_mtime_ns
    except OSError:
        return None


def mark_finished(folder: Path, timesteps: int, updates: int) -> None:
    """Note that the trial of a folder has reached its end."""
    write_text(folder / FINISHED_FILE, json.dumps({"timesteps": timesteps, "updates": updates}))


def is_finished(folder: Path) -> bool:
    """Whether the trial of a folder has reached its end."""
    return (folder / FINISHED_FILE).is_file()
