"""How much is measured, and on what: what the commands that measure have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scope:
    """The amounts of `scripts/benchmark.py`, its defaults."""

    device: str = "cpu"  # cpu, cuda or cuda:N
    stage: int = -1  # of the training_schedule, from 0
    timesteps: int = 4000  # of a reproduction run
    num_envs: Sequence[int] = (1024,)  # of training
    collect_envs: Sequence[int] = (4096,)  # of collection
    seeds: int = 4
    sizes: Sequence[int] = (10**4, 10**5, 10**6)  # transitions in a memory
    rounds: int = 3  # of each way, in turns
    seconds: float = 5.0  # least length of a loop's round
    warm_up: int = 2000  # timesteps before learning
    compile: bool | str = True  # of throughput mode


def without_sweeps(written: dict[str, Any]) -> dict[str, Any]:
    """A config as written, with the first value of every sweep."""
    return {key: value[0] if isinstance(value, list) else value for key, value in written.items()}
