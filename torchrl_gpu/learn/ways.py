"""Which parts of a run are compiled, and which are recorded as a CUDA graph: the one rule for `"auto"`."""

import os
import shutil
import sys
from importlib.util import find_spec
from typing import NamedTuple

import torch

from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from torchrl_gpu.learn.schedule import Schedule

UPDATES = {"cpu": 25_000, "cuda": 200_000}
"""Updates that a run makes at least for compiling them to be repaid."""
STEPS = {"cpu": 3_000, "cuda": 10_000}
"""The same for steps of a world, all its environments together."""
COMPILERS_OF_C = ("cc", "gcc", "clang")
"""Programs of which Triton needs one."""


class Way(NamedTuple):
    """How something is computed."""

    compiled: bool = False
    captured: bool = False  # recorded as a CUDA graph
    optional: bool = False  # what fails is left out, and a line says so

    @property
    def eager(self) -> bool:
        """Whether it is computed as it is written."""
        return not (self.compiled or self.captured)


class Ways(NamedTuple):
    """How the parts of a run are computed."""

    update: Way = Way()
    world: Way = Way()  # its step
    evaluation: Way = Way()  # the step of its world

    @classmethod
    def of(cls, compile: bool | str, schedule: Schedule, num_envs: int, device: torch.device | str) -> "Ways":
        """What a run does on a device; ``compile`` is a key of the config: true, false or "auto"."""
        kind = torch.device(device).type
        if not compile:
            return cls()
        if compile != "auto":
            return cls(Way(True, kind == "cuda"), Way(True), Way(True))
        end = schedule.total_timesteps + 1
        steps = (end // num_envs, len(schedule.evaluations()) * EPISODE_LIMIT)
        able = can_compile(kind)
        world, evaluation = (Way(able and count >= STEPS[kind], optional=True) for count in steps)
        many = schedule.updates(0, end) >= UPDATES[kind]
        return cls(Way(able and many, kind == "cuda", optional=True), world, evaluation)

    def __str__(self) -> str:
        parts = self._asdict().items()
        compiled = ", ".join(name for name, way in parts if way.compiled)
        captured = ", ".join(name for name, way in parts if way.captured)
        said = ["compiled: " + compiled] if compiled else ["nothing compiled"]
        return "; ".join(said + ["as a CUDA graph: " + captured] * bool(captured))


def can_compile(kind: str) -> bool:
    """Whether torch has the programs that it compiles with, for a kind of device."""
    if kind == "cpu":
        return compiler_of_torch() is not None
    return find_spec("triton") is not None and any(map(shutil.which, COMPILERS_OF_C))


def compiler_of_torch() -> str | None:
    """The C++ compiler by which torch compiles for the CPU, or None if there is none."""
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))
