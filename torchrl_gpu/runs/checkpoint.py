"""Full checkpoints of a run: everything it needs to go on as if it had never stopped.

TorchRL's `Checkpoint` writes an archive aside and renames it; `CheckpointRotation` keeps the last ones. All
that is read back is tensors, numbers and JSON: loading a checkpoint runs no code from it.
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torchrl.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointRotation,
    GlobalRNGState,
    StateDictCheckpointAdapter,
)

from torchrl_gpu.evaluation.record import FILE_NAME, EvaluationRecord
from torchrl_gpu.settings.parse import Trial
from torchrl_gpu.torchrl_trainer import TorchRLTrainer

FOLDER = "checkpoints"
FREE_KEYS = ("save_dir", "logger", "checkpoint_every", "checkpoint_keep", "training_time")
"""Keys of a trial that may change between a checkpoint and its use."""


MOST_GPUS = 64
"""Of a machine that a checkpoint may come from."""


class NoUsableCheckpointError(RuntimeError):
    """There are checkpoints, and none can be used."""


class Progressed:
    """Where a trainer stands, as a state dictionary."""

    def __init__(self, trainer: TorchRLTrainer) -> None:
        self.trainer = trainer

    def state_dict(self) -> dict[str, int]:
        """First timestep of the next vector step, and gradient updates made."""
        return {"timestep": self.trainer.timestep, "updates": self.trainer.updates}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore `state_dict`."""
        self.trainer.timestep, self.trainer.updates = state["timestep"], state["updates"]


class Evaluations:
    """The evaluations of a trainer as a component with files: ``evaluations.npz``, linked and not copied.

    Every evaluation replaces that file by a new one, so that the linked one never changes.
    """

    def __init__(self, trainer: TorchRLTrainer, folder: Path) -> None:
        self.trainer = trainer
        self.folder = folder

    def dump(self, path: Path) -> None:
        """Write the evaluations so far below ``path``."""
        if len(self.trainer.record) == 0:
            return
        try:
            os.link(self.folder / FILE_NAME, path / FILE_NAME)
        except OSError:  # another file system, or one without links
            shutil.copyfile(self.folder / FILE_NAME, path / FILE_NAME)

    def load(self, path: Path) -> None:
        """Restore what `dump` wrote."""
        found = (path / FILE_NAME).exists()
        self.trainer.record = EvaluationRecord.load(path) if found else EvaluationRecord()


class Checkpoints:
    """Saves a trainer between its steps, and restores it.

    Args:
        trainer: The trainer.
        trial: Its trial; a checkpoint of another one is refused.
        folder: The trial's folder.
        warn: Prints a line about a checkpoint that cannot be written or used.

    Attributes:
        last: Timestep of the last checkpoint saved or restored, or None.
    """

    def __init__(
        self,
        trainer: TorchRLTrainer,
        trial: Trial,
        folder: Path,
        warn: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self.trainer = trainer
        self.folder = folder / FOLDER
        self.every = trial["checkpoint_every"]
        self.warn = warn
        self.last: int | None = None
        values = {key: value for key, value in trial.values.items() if key not in FREE_KEYS}
        device = torch.device(trainer.agent.device)
        # From whichever GPU to this one; what was on the CPU stays there.
        self._device_of = dict.fromkeys((f"cuda:{k}" for k in range(MOST_GPUS)), device)
        self._made_by = {"trial": values, "device": device.type}
        self._rotation = CheckpointRotation(self.folder, keep_last=trial["checkpoint_keep"])
        self._checkpoint = self._of(trainer, folder)

    @property
    def due(self) -> bool:
        """Whether the schedule asks for a checkpoint before the next vector step."""
        passed = self.trainer.timestep
        return self.every > 0 and passed // self.every > (passed - self.trainer.num_envs) // self.every

    def save(self) -> bool:
        """Write a checkpoint, unless there is not enough space; True if there is one of this timestep now.

        The previous ones are removed, but for the last few, once it is complete.
        """
        timestep = self.trainer.timestep
        if self.last == timestep:
            return True
        problem = self._shortage()
        if problem is None:
            try:
                self._rotation.save(self._checkpoint, step=timestep, metadata=self._made_by)
                self.last = timestep
                return True
            except (OSError, RuntimeError) as error:  # torch says RuntimeError where the system refuses
                problem = " ".join(str(error).split())
        self.warn(f"no checkpoint at timestep {timestep}: {problem}")
        return False

    def restore(self) -> bool:
        """Restore the newest usable checkpoint; False if there is none at all. Others are named and left.

        Raises:
            NoUsableCheckpointError: There are some, but none can be used.
        """
        self._remove_leftovers()
        paths = sorted(self.folder.glob("checkpoint-*"), reverse=True)
        for path in paths:
            try:
                self._load(path)
            except (CheckpointError, OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
                self.warn(f"checkpoint {path} cannot be used: {' '.join(str(error).split())}")
                continue
            self.last = self.trainer.timestep
            return True
        if paths:
            raise NoUsableCheckpointError(f"none of {len(paths)} checkpoints in {self.folder} can be used")
        return False

    def _load(self, path: Path) -> None:
        # An archive is unpacked, and its checksums compared, before the first component is touched.
        made_by = Checkpoint.manifest(path)["metadata"]
        if made_by != self._made_by:
            raise ValueError(f"it was made by another trial: {_difference(made_by, self._made_by)}")
        self._checkpoint.load(path, map_location=self._device_of)

    def _of(self, trainer: TorchRLTrainer, folder: Path) -> Checkpoint:
        """Everything that makes up a run. Generators come last by name: parts may draw while they load."""
        checkpoint = Checkpoint(format="archive")
        tensors = StateDictCheckpointAdapter("consolidated")
        algorithm = trainer.agent.algorithm
        for kind in ("local", "target"):
            networks = algorithm.networks(getattr(algorithm, f"policy_{kind}"))
            for name, network in networks.items():
                checkpoint.register(f"{kind}-{name}", network, adapter=tensors)
        for name, optimizer in algorithm.optimizers.items():
            checkpoint.register(f"optimizer-{name}", optimizer, adapter=tensors)
        if trainer.average:
            checkpoint.register("average", trainer.average.model, adapter=tensors)
        parts = {
            "counters": Progressed(trainer),
            "env": trainer.env.world,
            "replay": trainer.replay,
            "progress": trainer.progress,
            "steps": trainer.steps,
            "zz-generators": GlobalRNGState(),
        }
        for name, part in parts.items():
            checkpoint.register(name, part, adapter=tensors)
        return checkpoint.register("evaluations", Evaluations(trainer, folder))

    def _shortage(self) -> str | None:
        """What keeps a checkpoint from being written, as far as the free space tells; None if nothing."""
        self.folder.mkdir(exist_ok=True)
        states = [
            part.state_dict() for part in self._checkpoint.components.values() if hasattr(part, "state_dict")
        ]
        needed = 2 * (_bytes(states) + OVERHEAD) + self._bytes_of_evaluations()
        free = shutil.disk_usage(self.folder).free
        if needed <= free:
            return None
        return f"{self.folder} needs {megabytes(needed)} for it, {megabytes(free)} are free"

    def _bytes_of_evaluations(self) -> int:
        path = self.folder.parent / FILE_NAME
        return 2 * path.stat().st_size if path.exists() else 0

    def _remove_leftovers(self) -> None:
        """Remove what a killed process has left while it saved; the folder is ours alone."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


OVERHEAD = 2**20
"""Bytes of a checkpoint besides its tensors, about."""


def megabytes(count: float) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:,.1f} MB"


def _bytes(state: Any) -> int:
    """Bytes of all tensors in nested containers."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(_bytes, state))
    return getattr(state, "nbytes", 0)


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first difference between what made a checkpoint and who wants to use it."""
    if found.get("device") != expected["device"]:
        return f"device {found.get('device')}, here {expected['device']}"
    there, here = found.get("trial") or {}, expected["trial"]
    for key in sorted({*there, *here}):
        if there.get(key) != here.get(key):
            return f"{key} {there.get(key)!r}, here {here.get(key)!r}"
    return "unknown origin"
