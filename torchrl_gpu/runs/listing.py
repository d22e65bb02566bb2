"""What there is in folders of runs: how each trial stands."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torchrl_gpu.evaluation.record import FILE_NAME, EvaluationRecord
from torchrl_gpu.program import table
from torchrl_gpu.runs.folder import (
    FAILURE_FILE,
    FINISHED_FILE,
    LOCK_FILE,
    STOPPED_FILE,
    TRIAL_FILE,
    is_finished,
    is_locked,
)
from torchrl_gpu.settings.trial import STAMP, Trial

NOT_COMPARED = ("save_dir", STAMP)
"""Keys in which runs differ without being different."""

COLUMNS = ("run", "state", "agent", "timesteps", "of", "steps/s", "last", "best", "changed")
"""Of the table; ``last`` and ``best`` are success rates."""

SPEED = "csv/scalars/speed/timesteps_per_second.csv"


@dataclass(frozen=True)
class RunInfo:
    """How one trial stands."""

    folder: Path
    state: str  # "waiting", "running", "finished", "stopped" early by its search, "failed" or "interrupted"
    agent: str
    config: dict[str, Any] = field(repr=False)  # `trial_config.json`
    timesteps: int  # made so far, as far as its files tell
    speed: float | None  # timesteps per second, at last; None if it was not logged
    last: float | None  # success rate of the last evaluation
    best: float | None  # that of the evaluation with the highest return, whose model is the best one
    evaluations: tuple[tuple[int, float, float], ...] = field(repr=False)
    changed: dict[str, Any] = field(default_factory=dict)  # keys that differ within its list

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the config and the single evaluations."""
        values = asdict(self) | {"folder": str(self.folder)}
        return {key: value for key, value in values.items() if key not in ("config", "evaluations")}


def list_runs(folders: Iterable[str | Path]) -> list[RunInfo]:
    """All trials at or below some folders, in the order of their paths.

    FileNotFoundError: a folder is missing, or holds no trial. ValueError: a trial's config or evaluations
    cannot be read; the message names the file.
    """
    infos = []
    for folder in map(Path, folders):
        files = sorted(folder.rglob(TRIAL_FILE))
        if not files:
            raise FileNotFoundError(f"{folder}: no {TRIAL_FILE} in this folder or below it")
        infos += [_read(file.parent) for file in files]
    return _with_changes(infos)


def list_trials(trials: Mapping[Path, Trial]) -> list[RunInfo]:
    """How trials stand in their folders, those not yet begun included; ValueError as `list_runs`."""
    return _with_changes(
        [
            _read(folder)
            if (folder / TRIAL_FILE).is_file()
            else RunInfo(folder, "waiting", trial.run.agent_type, trial.values, 0, None, None, None, ())
            for folder, trial in trials.items()
        ]
    )


def table_of(infos: Iterable[RunInfo], name: Callable[[Path], object] = str) -> str:
    """A line for each, under `COLUMNS`; ``name`` is what a folder is called."""
    return table(COLUMNS, [_row(info, str(name(info.folder))) for info in infos], left=len(COLUMNS))


def _row(info: RunInfo, name: str) -> list[str]:
    return [name, info.state, info.agent, *_numbers(info), _changes(info)]


def _numbers(info: RunInfo) -> list[str]:
    rates = ["-" if rate is None else f"{rate:.2f}" for rate in (info.last, info.best)]
    speed = "-" if info.speed is None else f"{info.speed:,.0f}"
    return [f"{info.timesteps:,}", f"{info.config['total_timesteps']:,}", speed, *rates]


def _changes(info: RunInfo) -> str:
    """Those that are short with their values."""
    short = {key: value for key, value in info.changed.items() if not isinstance(value, dict)}
    changed = [f"{key}={value}" for key, value in short.items()]
    return " ".join([*changed, *(key for key in info.changed if key not in short)])


def _with_changes(infos: list[RunInfo]) -> list[RunInfo]:
    differing = differing_keys([info.config for info in infos])
    for info in infos:
        info.changed.update({key: info.config[key] for key in differing if key in info.config})
    return infos


def differing_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that some of the configs have with another value than others, or not at all."""
    keys = dict.fromkeys(key for config in configs for key in config if key not in NOT_COMPARED)
    missing = object()
    values = {key: [config.get(key, missing) for config in configs] for key in keys}
    return [key for key, each in values.items() if any(value != each[0] for value in each)]


def _read(folder: Path) -> RunInfo:
    config = _json(folder / TRIAL_FILE)
    evaluations = _evaluations(folder)
    rows = _rows(folder / SPEED)
    finished = _json(folder / FINISHED_FILE)["timesteps"] if is_finished(folder) else 0
    reached = [step for step, *_ in (*evaluations, *rows[-1:])]
    return RunInfo(
        folder,
        _state(folder, config, evaluations),
        config.get("agent_type", "?"),
        config,
        timesteps=max([finished, *reached]),
        speed=rows[-1][1] if rows else None,
        last=evaluations[-1][1] if evaluations else None,
        best=max(evaluations, key=lambda each: each[2])[1] if evaluations else None,
        evaluations=evaluations,
    )


def _state(folder: Path, config: dict[str, Any], evaluations: Sequence) -> str:
    if is_locked(folder):
        return "running"
    if is_finished(folder):
        return "finished"
    if (folder / STOPPED_FILE).exists():
        return "stopped"
    if (folder / FAILURE_FILE).exists():
        return "failed"
    # The legacy pipeline marks no end: its last evaluation tells.
    last = evaluations[-1][0] if evaluations else 0
    done = not (folder / LOCK_FILE).exists() and last + config["eval_freq"] > config["total_timesteps"]
    return "finished" if evaluations and done else "interrupted"


def _evaluations(folder: Path) -> tuple[tuple[int, float, float], ...]:
    if not (folder / FILE_NAME).exists():
        return ()
    record = EvaluationRecord.load(folder, histories=False)
    metrics = map(record.metrics, range(len(record)))
    pairs = zip(record.timesteps, metrics, strict=True)
    return tuple((int(step), each.success_rate, each.mean_return) for step, each in pairs)


def _rows(path: Path) -> list[tuple[int, float]]:
    """Rows of a series; a last one that is being written is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    pairs = [line.split(",") for line in lines if line.endswith("\n")]
    return [(int(step), float(value)) for step, value in pairs]


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: must hold one JSON object")
    return values
