"""All evaluations of a run so far: ``evaluations.npz``, written whole and read safely (training spec 8).

The file keeps the legacy content: object arrays of nested lists, indexed
``[evaluation][episode][robot][step]``. The legacy writer let NumPy choose the array shape from the data
(Defect T13); here every per-episode array is ``(n, E)``, whatever the lengths.
"""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from marinenav_env.files import replacing
from torchrl_gpu.evaluation.metrics import NUMBERS, EpisodeResult, Metrics
from torchrl_gpu.evaluation.npz import EvaluationFileError, load_nested_lists
from torchrl_gpu.evaluation.packed import PackedRows

FILE_NAME = "evaluations.npz"

EPISODE_KEYS = {
    "observations": "observations",
    "actions": "actions",
    "trajectories": "trajectories",
    "rewards": "reward",
    "successes": "success",
    "times": "time",
    "energies": "energy",
    "outcomes": "outcomes",
}
"""Key of the file -> attribute of :class:`~torchrl_gpu.evaluation.metrics.EpisodeResult`."""

HISTORIES = ("observations", "actions", "trajectories")
"""The large arrays."""

PACKED = (*HISTORIES, "outcomes")
"""Arrays kept packed: large ones, and one whose texts must not depend on which evaluations were read back."""

OPTIONAL = ("outcomes",)
"""What files of the legacy pipeline, and older ones of this, do not hold."""


@dataclass
class EvaluationRecord:
    """The accumulated evaluation results of a run; the fields are the arrays of ``evaluations.npz``.

    n evaluations, E episodes, R robots of an episode, L steps of a robot; what they are of says
    :class:`~torchrl_gpu.evaluation.metrics.EpisodeResult`. Where outcomes are unknown they are [n][E] empty
    lists; ``relations`` are [n][E][R] empty lists, kept for legacy readers.
    """

    timesteps: list = field(default_factory=list)  # [n]
    observations: PackedRows | list = field(default_factory=PackedRows, repr=False)  # [n][E][R][L + 1]
    actions: PackedRows | list = field(default_factory=PackedRows, repr=False)  # [n][E][R][L]
    trajectories: PackedRows | list = field(default_factory=PackedRows, repr=False)  # [n][E][R][L + 1]
    rewards: list = field(default_factory=list)  # [n][E] mean discounted return
    successes: list = field(default_factory=list)  # [n][E] whether all robots arrived
    times: list = field(default_factory=list)  # [n][E] mean travel time in s
    energies: list = field(default_factory=list)  # [n][E] mean energy in N s
    relations: list = field(default_factory=list, repr=False)
    outcomes: PackedRows | list = field(default_factory=PackedRows, repr=False)  # [n][E][R]

    def __len__(self) -> int:
        """Return the number of evaluations made so far."""
        return len(self.timesteps)

    @property
    def best(self) -> int:
        """Index of the first with the highest mean return; success alone would favour slow policies."""
        return max(range(len(self)), key=lambda k: self.metrics(k).mean_return)

    def append(self, timestep: int, results: list[EpisodeResult]) -> None:
        """Add the evaluation made at ``timestep``: one result per episode."""
        self.timesteps.append(timestep)
        for key, attribute in EPISODE_KEYS.items():
            rows = self._packed(key) if key in PACKED else getattr(self, key)
            rows.append([getattr(result, attribute) for result in results])
        robots = (result.outcomes or result.trajectories for result in results)
        self.relations.append([[[] for _ in each] for each in robots])

    def metrics(self, k: int) -> Metrics:
        """Metrics of evaluation k, over all episodes."""
        return self.part(k, range(len(self.rewards[k])))

    def part(self, k: int, episodes: Iterable[int]) -> Metrics:
        """Metrics of evaluation k, over some episodes."""
        chosen = list(episodes)
        keys = {attribute: key for key, attribute in EPISODE_KEYS.items()}
        rows = {name: getattr(self, keys[name])[k] for name in NUMBERS}
        return Metrics.of(**{name: [row[episode] for episode in chosen] for name, row in rows.items()})

    def results(self, k: int) -> list[EpisodeResult]:
        """Results of evaluation k, an episode each."""
        rows = zip(*(getattr(self, key)[k] for key in EPISODE_KEYS), strict=True)
        return [EpisodeResult(**dict(zip(EPISODE_KEYS.values(), row, strict=True))) for row in rows]

    def save(self, directory: str | Path) -> Path:
        """Write ``evaluations.npz`` with all evaluations so far: aside first, then renamed over the old."""
        path = Path(directory) / FILE_NAME
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for key in KEYS:
                if key in OPTIONAL and not getattr(self, key):
                    continue
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    if key in PACKED:
                        self._packed(key).write_array(member)
                    else:
                        np.lib.format.write_array(member, self._array(key), allow_pickle=True)
        return path

    @classmethod
    def load(cls, path: str | Path, histories: bool = True) -> "EvaluationRecord":
        """Read an ``evaluations.npz``, or that of a run folder, ours or legacy, running no code from it.

        Without ``histories`` observations, actions and trajectories, nearly all of the file, are left out.
        Lists nest as described above, whatever the shape of the stored arrays. EvaluationFileError: it is
        missing, torn, foreign, or its pickles name anything but NumPy's own array and scalar reconstruction.
        """
        path = Path(path)
        if path.is_dir():
            path = path / FILE_NAME
        keys = [key for key in KEYS if histories or key not in HISTORIES]
        arrays = load_nested_lists(path, keys, OPTIONAL)
        for key in OPTIONAL:
            arrays.setdefault(key, [[[] for _ in row] for row in arrays["rewards"]])
        _check(arrays, path)
        return cls(**arrays)

    def summary(self, directory: str | Path) -> str:
        """Readable end of a run: the last evaluation, the best one, and where the files are."""
        lines = ["", "Run finished" if len(self) else "Run finished without an evaluation"]
        if len(self):
            last, best = self.metrics(-1), self.metrics(self.best)
            lines += [
                f"  last evaluation   timestep {self.timesteps[-1]}, {last.episodes} episode(s)",
                f"  success rate      {last.success_rate:.2f}",
                f"  mean return       {last.mean_return:.2f}",
                f"  mean travel time  {_of_successes(last.mean_time, 's')}",
                f"  mean energy       {_of_successes(last.mean_energy, 'N s')}",
                f"  best evaluation   timestep {self.timesteps[self.best]}: "
                f"success {best.success_rate:.2f}, return {best.mean_return:.2f}",
            ]
        return "\n".join([*lines, f"  files             {Path(directory)}"])

    def _packed(self, key: str) -> PackedRows:
        """A packed array, even if it is still the plain lists of a file."""
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


def _of_successes(value: float | None, unit: str) -> str:
    return "- (no episode succeeded)" if value is None else f"{value:.1f} {unit}"


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
    return len(row) if isinstance(row, list) else None


KEYS = tuple(each.name for each in fields(EvaluationRecord))
