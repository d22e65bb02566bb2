"""Whether the memory suffices: known before training for the replay, said in one line later."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from agents.batch import row_size
from torchrl_gpu.settings.parse import ConfigError, Trial

BYTES_PER_TRANSITION = row_size(continuous=True) * 4
"""A row of float32 numbers, see `torchrl_gpu.replay.rows`."""
BYTES_PER_PRIORITY = 10
"""A priority and its share of the sums above it, see `torchrl_gpu.replay.priority_tree`."""

CGROUP = Path("/sys/fs/cgroup")


class ShortOfMemoryError(RuntimeError):
    """Memory ran out while training."""


def check_memory(trial: Trial, device: str, at_once: int = 1) -> None:
    """Refuse, by a ConfigError, a trial whose replay memory, `at_once` times, is more than is free."""
    where = device if trial["replay_device"] == "auto" else trial["replay_device"]
    needed = replay_bytes(trial) * at_once
    free = free_bytes(torch.device(where))
    if needed > free:
        trials = f" in each of {at_once} trials" if at_once > 1 else ""
        raise ConfigError(
            f"key 'buffer_size': {trial['buffer_size']} transitions{trials} need {gigabytes(needed)} "
            f"of memory on {where}, {gigabytes(free)} are free"
        )


@contextmanager
def explaining_shortage(trial: Trial) -> Iterator[None]:
    """Raise ShortOfMemoryError, with the keys that decide, where memory runs out within the block."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        said = str(error).partition("\n")[0] or "out of memory"
        raise ShortOfMemoryError(
            f"{said} (key 'buffer_size': {trial['buffer_size']} transitions take "
            f"{gigabytes(replay_bytes(trial))}; key 'num_envs': {trial['num_envs']})"
        ) from error


def replay_bytes(trial: Trial) -> int:
    """Bytes of the replay memory once it is full."""
    return trial["buffer_size"] * (BYTES_PER_TRANSITION + trial.prioritized * BYTES_PER_PRIORITY)


def free_bytes(device: torch.device) -> int:
    """Bytes free on a device, within the limits of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    container = _free_of_container()
    return free if container is None else min(free, container)


def gigabytes(count: float) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:,.1f} GB"


def _free_of_container() -> int | None:
    """What psutil does not see; None without a limit."""
    try:
        limit, used = ((CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))
