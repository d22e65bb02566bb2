"""Full checkpoints of a run: everything it needs to go on as if it had never stopped.

TorchRL's `Checkpoint` writes an archive aside and renames it; `CheckpointRotation` keeps the last ones. All
that is read back is tensors, numbers and JSON: loading a checkpoint runs no code from it.
"""

import errno
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torchrl.checkpoint import Checkpoint, CheckpointError, CheckpointRotation, StateDictCheckpointAdapter

from agents.models.files import ModelFileError
from agents.models.folder import load_agent
from agents.settings import Section, key
from torchrl_gpu.evaluation.record import FILE_NAME, EvaluationRecord
from torchrl_gpu.learn.schedule import LONGEST
from torchrl_gpu.ranks import ALONE
from torchrl_gpu.torchrl_trainer import TorchRLTrainer

LAYOUT = 2
"""Of what a checkpoint holds; earlier ones do not say."""
DESCRIPTION = 4096
"""Bytes that the description of a tensor takes in a checkpoint, at most."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CheckpointSettings(Section):
    """When checkpoints are written, and how many are kept."""

    checkpoint_every: int = key(
        0,
        "timesteps between two full checkpoints; 0: only on interruption",
        legacy=False,
        free=True,
        ge=0,
        le=LONGEST,
    )
    checkpoint_keep: int = key(2, "full checkpoints kept", legacy=False, free=True, ge=1, le=1000)


class NoUsableCheckpointError(RuntimeError):
    """There are checkpoints, and none can be used."""


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
        if self.trainer.unsaved:
            self.trainer.record.save(path)
            return
        try:
            os.link(self.folder / FILE_NAME, path / FILE_NAME)
        except OSError:  # another file system, or one without links
            shutil.copyfile(self.folder / FILE_NAME, path / FILE_NAME)

    def load(self, path: Path) -> None:
        """Restore what `dump` wrote."""
        found = (path / FILE_NAME).exists()
        self.trainer.record = EvaluationRecord.load(path) if found else EvaluationRecord()


class Fitting:
    """The state of a trainer, given to be written only if there is room for it on the disk of a folder.

    TorchRL maps the file it writes into memory. Where the disk is full that ends the process by SIGBUS, and
    not by an error.
    """

    def __init__(self, trainer: TorchRLTrainer, folder: Path) -> None:
        self.trainer = trainer
        self.folder = folder

    def state_dict(self) -> dict[str, Any]:
        """That of the trainer. OSError: the disk is full."""
        state = self.trainer.state_dict()
        check_space(self.folder, sum(each.nbytes + DESCRIPTION for each in _tensors_of(state)))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """That of the trainer."""
        self.trainer.load_state_dict(state)


def check_space(folder: Path, size: int) -> None:
    """Raise OSError unless the disk of a folder takes so many bytes now; one that cannot tell passes."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in FULL:
                raise


def _tensors_of(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for each in state.values() if isinstance(state, dict) else state:
            yield from _tensors_of(each)


def restore(
    checkpoints: "Sequence[Checkpoints]", turns: Sequence[Callable[[], AbstractContextManager]] = ()
) -> bool:
    """Restore the newest checkpoint that all of several trials, and all their ranks, have and can use.

    ``turns`` are contexts in which each restores; see `Checkpoints.restore`.
    """
    names = [each for owner in checkpoints for each in owner.names()]
    common = sorted(set.intersection(*names), reverse=True)
    where = ", ".join(str(owner.folder) for owner in checkpoints)
    if not common and max(map(len, names)) > 1:  # one alone is of some killed while they first saved
        who = "for all seeds" if len(checkpoints) > 1 else "on all ranks"
        raise NoUsableCheckpointError(f"no checkpoint in {where} is there {who}")
    turns = turns or [nullcontext] * len(checkpoints)
    for name in common:
        used = []
        for owner, turn in zip(checkpoints, turns, strict=True):
            with turn():
                used.append(owner.use(name))
        if all(used):
            return True
    if common:
        raise NoUsableCheckpointError(f"none of {len(common)} checkpoints in {where} can be used")
    return False


class Checkpoints:
    """Saves a trainer between its steps, and restores it; a checkpoint of another trial is refused.

    ``identity`` holds the keys of the trial that must be the same; ``results`` is the trial's folder,
    ``folder`` that of its checkpoints. If it is not ``alone``, other trials of the process must be able to go
    on from the same timestep, so that at least two checkpoints are kept.
    """

    def __init__(
        self,
        trainer: TorchRLTrainer,
        settings: CheckpointSettings,
        identity: dict[str, Any],
        results: Path,
        folder: Path,
        warn: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        *,
        alone: bool = True,
    ) -> None:
        self.trainer = trainer
        self.results = results
        self.folder = folder
        self.every = settings.checkpoint_every
        self.warn = warn
        self.last: int | None = None  # timestep of the last one saved or restored
        self.device = torch.empty(0, device=trainer.agent.device).device  # with the number of the GPU
        self.ranks = trainer.ranks
        self._made_by = {"layout": LAYOUT, "trial": identity, "device": self.device.type}
        if self.ranks.count > 1:
            self._made_by["ranks"] = list(self.ranks[:2])
        keep = settings.checkpoint_keep
        if self.ranks.count > 1 or not alone:
            keep = max(keep, 2)  # the last one may not be whole yet of another
        self._rotation = CheckpointRotation(self.folder, keep_last=keep)
        self._checkpoint = Checkpoint(format="archive")
        self._checkpoint.register(
            "run", Fitting(trainer, results), adapter=StateDictCheckpointAdapter("consolidated")
        )
        self._checkpoint.register("evaluations", Evaluations(trainer, results))

    @property
    def due(self) -> bool:
        """Whether the schedule asks for a checkpoint before the next vector step."""
        passed = self.trainer.timestep
        return self.every > 0 and passed // self.every > (passed - self.trainer.num_envs) // self.every

    def save(self) -> bool:
        """Write a checkpoint, if the disk takes it; True if there is one of this timestep now, on all ranks.

        The previous ones are removed, but for the last few, once it is complete. DivergedError: there is
        nothing to go on from, and they stay.
        """
        timestep = self.trainer.timestep
        if self.last == timestep:
            return True
        self.trainer.check_weights()
        if self.ranks.all(self._write(timestep)):
            self.last = timestep
        return self.last == timestep

    def _write(self, timestep: int) -> bool:
        """Write this rank's own."""
        metadata = self._made_by | {"timestep": timestep, "gpu": str(self.device)}
        try:
            self._rotation.save(self._checkpoint, step=timestep, metadata=metadata)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError where the system refuses
            self.warn(f"no checkpoint at timestep {timestep}: {_line(error)}")
            return False
        return True

    def restore(self) -> bool:
        """Restore the newest usable checkpoint; False if there is none at all. Others are named and left.

        Evaluations that the trial's folder has lost are written back; its model is written by the next one.
        NoUsableCheckpointError: there are some, but none can be used.
        """
        return restore([self])

    def names(self) -> list[set[str]]:
        """Names of the checkpoints of each rank; what a killed process has left is removed."""
        self._remove_leftovers()
        return self.ranks.gathered({path.name for path in self.folder.glob("checkpoint-*")})

    def use(self, name: str) -> bool:
        """Restore a checkpoint, or say why not; True if it could be, on all ranks."""
        if not self.ranks.all(self._usable(self.folder / name)):
            return False
        self.last = self.trainer.timestep
        if len(self.trainer.record):
            self.trainer.record.save(self.results)
        return True

    def _usable(self, path: Path) -> bool:
        """Load a checkpoint, or say why not."""
        try:
            self._load(path)
        except (CheckpointError, OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            self.warn(f"checkpoint {path} cannot be used: {_line(error)}")
            return False
        return True

    def _load(self, path: Path) -> None:
        # An archive is unpacked, and its checksums compared, before the first component is touched.
        manifest = Checkpoint.manifest(path)
        made_by = dict(manifest["metadata"])
        timestep, gpu = (made_by.pop(key, None) for key in ("timestep", "gpu"))
        if made_by != self._made_by:
            raise ValueError(f"it was made by {_difference(made_by, self._made_by)}")
        _check_members(path, manifest)
        self._checkpoint.load(path, components={"evaluations"})
        self._check_model(timestep)  # it draws, so before the generators are restored
        # From whichever GPU to this one; what was on the CPU stays there.
        self._checkpoint.load(path, components={"run"}, map_location={gpu: self.device})

    def _check_model(self, timestep: int) -> None:
        """Refuse a checkpoint behind the last evaluation where the model of that has been lost."""
        timesteps = self.trainer.record.timesteps
        if not timesteps or self.trainer.schedule.evaluations(timestep):
            return
        try:
            load_agent(self.results, agent_type=self.trainer.agent.agent_type)
        except ModelFileError as error:
            raise ValueError(f"it lies behind the last evaluation, whose model is lost: {error}") from None

    def _remove_leftovers(self) -> None:
        """Remove what a killed process has left while it saved; the folder is ours alone."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def ranks_of(folder: Path) -> set[int]:
    """How many processes share what the checkpoints in a folder hold; one that cannot be read is left out."""
    counts = set()
    for path in folder.glob("checkpoint-*"):
        with suppress(CheckpointError, OSError, ValueError, TypeError, LookupError, zipfile.BadZipFile):
            made_by = dict(Checkpoint.manifest(path)["metadata"])
            counts.add(int(made_by.get("ranks", ALONE)[1]))
    return counts


def _check_members(path: Path, manifest: dict[str, Any]) -> None:
    """Refuse an archive that holds other files than its manifest names, or some larger than they look."""
    known = {"manifest.json"}
    for record in manifest["components"].values():
        known |= {f"{record['path']}/{name}" for name in record["files"]}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename not in known:
                raise ValueError(f"it holds {member.filename!r}, which belongs to no checkpoint")
            if member.compress_size != member.file_size:
                raise ValueError(f"its member {member.filename!r} is compressed")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Who made a checkpoint, as far as it differs from who wants to use it."""
    if found.get("layout") != expected["layout"]:
        return "another version of this program"
    if found.get("device") != expected["device"]:
        return f"another trial: device {found.get('device')}, here {expected['device']}"
    if found.get("ranks") != expected.get("ranks"):
        return f"another rank: {found.get('ranks')}, here {expected.get('ranks')}"
    there, here = found.get("trial") or {}, expected["trial"]
    for name in sorted({*there, *here}):
        if there.get(name) != here.get(name):
            return f"another trial: {name} {there.get(name)!r}, here {here.get(name)!r}"
    return "another trial, of unknown origin"
