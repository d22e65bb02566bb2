"""All evaluations of a run so far: ``evaluations.npz``, written whole and read safely (training spec 8).

The file keeps the legacy content: object arrays of nested lists, indexed
``[evaluation][episode][robot][step]``. The legacy writer let NumPy choose the array shape from the data
(Defect D13); here every per-episode array is ``(n, E)``, whatever the lengths.
"""

import pickle
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from agents.evaluation import EpisodeResult
from agents.files import replacing

FILE_NAME = "evaluations.npz"

EPISODE_KEYS = {
    "observations": "observations",
    "actions": "actions",
    "trajectories": "trajectories",
    "rewards": "reward",
    "successes": "success",
    "times": "time",
    "energies": "energy",
}
"""Key of the file -> attribute of :class:`~agents.evaluation.EpisodeResult`."""

SAFE_GLOBALS = {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype")}
"""What a pickled NumPy array or scalar may name; plain containers and numbers name nothing at all."""


class EvaluationFileError(ValueError):
    """An evaluation file that is torn, foreign, or holds more than arrays and plain containers."""


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and scalars and built-in containers; refuses any other global."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in SAFE_GLOBALS:
            raise EvaluationFileError(f"its pickle asks for {module}.{name}; only NumPy arrays are allowed")
        return super().find_class(module, name)


@dataclass
class EvaluationRecord:
    """The accumulated evaluation results of a run; the fields are the arrays of ``evaluations.npz``.

    n evaluations, E episodes, R robots of an episode, L steps of a robot.

    Attributes:
        timesteps: [n] timestep of the evaluation.
        observations: [n][E][R][L + 1] ``[self, objects]``.
        actions: [n][E][R][L] two floats or an action index.
        trajectories: [n][E][R][L + 1] rows of 13 floats.
        rewards: [n][E] mean discounted return of the robots.
        successes: [n][E] whether all robots arrived.
        times: [n][E] mean travel time in s.
        energies: [n][E] mean energy in N s.
        relations: [n][E][R] an empty list, kept for legacy readers.
    """

    timesteps: list = field(default_factory=list)
    observations: list = field(default_factory=list, repr=False)
    actions: list = field(default_factory=list, repr=False)
    trajectories: list = field(default_factory=list, repr=False)
    rewards: list = field(default_factory=list)
    successes: list = field(default_factory=list)
    times: list = field(default_factory=list)
    energies: list = field(default_factory=list)
    relations: list = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        """Return the number of evaluations made so far."""
        return len(self.timesteps)

    @property
    def best(self) -> int:
        """Index of the evaluation with the highest success rate, then return; the first of equals."""
        return max(range(len(self)), key=lambda k: (np.mean(self.successes[k]), np.mean(self.rewards[k])))

    def append(self, timestep: int, results: list[EpisodeResult]) -> None:
        """Add the evaluation made at ``timestep``: one result per episode."""
        self.timesteps.append(timestep)
        for key, attribute in EPISODE_KEYS.items():
            getattr(self, key).append([getattr(result, attribute) for result in results])
        self.relations.append([[[] for _ in result.trajectories] for result in results])

    def save(self, directory: str | Path) -> Path:
        """Write ``evaluations.npz`` with all evaluations so far: aside first, then renamed over the old one.

        Args:
            directory: Existing folder.

        Returns:
            The file's path.
        """
        path = Path(directory) / FILE_NAME
        with replacing(path) as file:
            np.savez(file, **{key: self._array(key) for key in KEYS})
        return path

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationRecord":
        """Read an ``evaluations.npz`` of this project or of the legacy pipeline, running no code from it.

        Args:
            path: The file, or the run folder that holds it.

        Returns:
            The record; its lists nest as described above whatever the shape of the stored arrays.

        Raises:
            EvaluationFileError: The file is missing, torn, foreign, or its pickles name anything but
                NumPy's own array and scalar reconstruction.
        """
        path = Path(path)
        if path.is_dir():
            path = path / FILE_NAME
        record = cls()
        try:
            with zipfile.ZipFile(path) as archive:
                for key in KEYS:
                    setattr(record, key, _read_member(archive, key))
        except FileNotFoundError:
            raise EvaluationFileError(f"{path}: no such file") from None
        except KeyError as error:
            raise EvaluationFileError(f"{path}: {error.args[0]}; expected {', '.join(KEYS)}") from None
        except Exception as error:  # a hostile or torn pickle may raise anything
            raise EvaluationFileError(f"{path}: cannot be read as evaluations: {error}") from None
        record._check(path)
        return record

    def summary(self, directory: str | Path) -> str:
        """Readable end of a run: the last evaluation, the best one, and where the files are."""
        lines = ["", "Run finished" if len(self) else "Run finished without an evaluation"]
        if len(self):
            best = self.best
            episodes = len(self.rewards[-1])
            lines += [
                f"  last evaluation   timestep {self.timesteps[-1]}, {episodes} episode(s)",
                *self._metrics(-1),
                f"  best evaluation   timestep {self.timesteps[best]}: "
                f"success {np.mean(self.successes[best]):.2f}, return {np.mean(self.rewards[best]):.2f}",
            ]
        return "\n".join([*lines, f"  files             {Path(directory)}"])

    def _metrics(self, k: int) -> list[str]:
        """Success rate, return, and travel time and energy over the successful episodes of evaluation k."""
        successes = np.asarray(self.successes[k], dtype=bool)
        lines = [
            f"  success rate      {successes.mean():.2f}",
            f"  mean return       {np.mean(self.rewards[k]):.2f}",
        ]
        for name, key, unit in (("travel time", "times", "s"), ("energy", "energies", "N s")):
            values = np.asarray(getattr(self, key)[k], dtype=float)[successes]
            value = f"{values.mean():.1f} {unit}" if values.size else "- (no episode succeeded)"
            lines.append(f"  {f'mean {name}':<18}{value}")
        return lines

    def _array(self, key: str) -> np.ndarray:
        """One object array: (n,) for the timesteps, else (n, E) with nested lists or scalars as elements."""
        rows = getattr(self, key)
        shape = (len(rows),) if key == "timesteps" else (len(rows), len(rows[0]) if rows else 0)
        array = np.empty(shape, dtype=object)
        for k, row in enumerate(rows):
            if key == "timesteps":
                array[k] = row
                continue
            for e, value in enumerate(row):
                array[k, e] = value
        return array

    def _check(self, path: Path) -> None:
        """Refuse a file whose arrays do not describe the same evaluations and episodes."""
        lengths = {key: len(getattr(self, key)) for key in KEYS}
        if len(set(lengths.values())) > 1:
            raise EvaluationFileError(f"{path}: arrays of unequal length: {lengths}")
        for key in (*EPISODE_KEYS, "relations"):
            if _row_lengths(getattr(self, key)) != _row_lengths(self.rewards):
                raise EvaluationFileError(f"{path}: {key!r} and 'rewards' differ in the number of episodes")


def _row_lengths(rows: list) -> list[int | None]:
    """Number of episodes of each evaluation; None for a row that is no list."""
    return [len(row) if isinstance(row, list) else None for row in rows]


KEYS = tuple(each.name for each in fields(EvaluationRecord))


def _read_member(archive: zipfile.ZipFile, key: str) -> list:
    """Read one array of the archive as nested lists."""
    with archive.open(f"{key}.npy") as file:
        return np.atleast_1d(read_array(file)).tolist()


def read_array(file: IO[bytes]) -> np.ndarray:
    """Read one ``.npy`` stream; an object array goes through the restricted unpickler.

    Args:
        file: Binary stream at the start of an array.

    Returns:
        The array.

    Raises:
        EvaluationFileError: The pickle names a global that is not NumPy's own reconstruction.
    """
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise EvaluationFileError(f"array format {version} is not (1, 0)")
    _, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    array = _ArrayUnpickler(file).load()
    if not isinstance(array, np.ndarray):
        raise EvaluationFileError(f"its pickle holds a {type(array).__name__}; only NumPy arrays are allowed")
    return array
