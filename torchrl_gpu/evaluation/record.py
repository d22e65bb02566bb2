"""All evaluations of a run so far: ``evaluations.npz``, written whole and read safely (training spec 8).

The file keeps the legacy content: object arrays of nested lists, indexed
``[evaluation][episode][robot][step]``. The legacy writer let NumPy choose the array shape from the data
(Defect T13); here every per-episode array is ``(n, E)``, whatever the lengths.
"""

import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from marinenav_env.files import replacing
from torchrl_gpu.evaluation.one_by_one import EpisodeResult
from torchrl_gpu.evaluation.packed import PackedRows
from torchrl_gpu.evaluation.safe_npz import EvaluationFileError, load_nested_lists

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
"""Key of the file -> attribute of :class:`~torchrl_gpu.evaluation.one_by_one.EpisodeResult`."""

HISTORIES = ("observations", "actions", "trajectories")
"""The large arrays."""


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
    observations: PackedRows | list = field(default_factory=PackedRows, repr=False)
    actions: PackedRows | list = field(default_factory=PackedRows, repr=False)
    trajectories: PackedRows | list = field(default_factory=PackedRows, repr=False)
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
        """Index of the evaluation with the highest mean return, the first of equals.

        Not of the highest success rate: hesitant policies, which arrive late, would win by it.
        """
        return max(range(len(self)), key=lambda k: np.mean(self.rewards[k]))

    def append(self, timestep: int, results: list[EpisodeResult]) -> None:
        """Add the evaluation made at ``timestep``: one result per episode."""
        self.timesteps.append(timestep)
        for key, attribute in EPISODE_KEYS.items():
            rows = self._packed(key) if key in HISTORIES else getattr(self, key)
            rows.append([getattr(result, attribute) for result in results])
        self.relations.append([[[] for _ in result.trajectories] for result in results])

    def save(self, directory: str | Path) -> Path:
        """Write ``evaluations.npz`` with all evaluations so far: aside first, then renamed over the old one.

        Args:
            directory: Existing folder.

        Returns:
            The file's path.
        """
        path = Path(directory) / FILE_NAME
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for key in KEYS:
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    if key in HISTORIES:
                        self._packed(key).write_array(member)
                    else:
                        np.lib.format.write_array(member, self._array(key), allow_pickle=True)
        return path

    @classmethod
    def load(cls, path: str | Path, histories: bool = True) -> "EvaluationRecord":
        """Read an ``evaluations.npz`` of this project or of the legacy pipeline, running no code from it.

        Args:
            path: The file, or the run folder that holds it.
            histories: Whether to read observations, actions and trajectories, nearly all of the file.

        Returns:
            The record; its lists nest as described above whatever the shape of the stored arrays.

        Raises:
            EvaluationFileError: The file is missing, torn, foreign, or its pickles name anything but
                NumPy's own array and scalar reconstruction.
        """
        path = Path(path)
        if path.is_dir():
            path = path / FILE_NAME
        keys = [key for key in KEYS if histories or key not in HISTORIES]
        arrays = load_nested_lists(path, keys)
        _check(arrays, path)
        return cls(**arrays)

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

    def _packed(self, key: str) -> PackedRows:
        """A history, packed if it is still the plain lists of a file."""
        rows = getattr(self, key)
        if not isinstance(rows, PackedRows):
            rows = PackedRows(rows)
            setattr(self, key, rows)
        return rows

    def _array(self, key: str) -> np.ndarray:
        """One object array: (n,) for the timesteps, else (n, E)."""
        rows = getattr(self, key)
        if key == "timesteps":
            array = np.empty(len(rows), dtype=object)
            array[:] = rows
            return array
        array = np.empty((len(rows), len(rows[0]) if rows else 0), dtype=object)
        for k, row in enumerate(rows):
            for e, value in enumerate(row):
                array[k, e] = value
        return array


def _check(arrays: dict[str, list], path: Path) -> None:
    """Refuse arrays that do not describe the same evaluations and episodes."""
    lengths = {key: len(rows) for key, rows in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise EvaluationFileError(f"{path}: arrays of unequal length: {lengths}")
    episodes = [_length(row) for row in arrays["rewards"]]
    for key in arrays.keys() - {"timesteps"}:
        if [_length(row) for row in arrays[key]] != episodes:
            raise EvaluationFileError(f"{path}: {key!r} and 'rewards' differ in the number of episodes")


def _length(row: Any) -> int | None:
    """Number of episodes of an evaluation; None for what is no list."""
    return len(row) if isinstance(row, list) else None


KEYS = tuple(each.name for each in fields(EvaluationRecord))
