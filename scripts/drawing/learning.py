"""Learning curves: evaluations of one or more runs, mean and spread over their seeds (training spec 10.1)."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, PercentFormatter

from scripts.command_line import InputError, reason
from scripts.drawing import style
from scripts.drawing.episodes import read_json
from torchrl_gpu.evaluation.metrics import SHOWN
from torchrl_gpu.evaluation.record import FILE_NAME, EvaluationFileError, EvaluationRecord
from torchrl_gpu.runs.folder import TRIAL_FILE

NOT_COMPARED = ("seed", "training_time", "save_dir")
"""Config keys in which trials of one curve may differ."""

WALL_MINUTES = "csv/scalars/speed/wall_minutes.csv"
"""Where a trial keeps the wall time of its evaluations."""

PANELS = (
    ("return", "Return", "discounted, mean over robots"),
    ("success", "Success rate", "episodes with all robots arrived"),
    ("time", "Travel time", "s, mean over successful episodes"),
    ("energy", "Energy", "kN s, mean over successful episodes"),
)
"""Metric, panel title, what its axis measures."""


@dataclass
class Trial:
    """Evaluations of a trial folder: arrays (n,); wall time in minutes by timestep, where the run kept it."""

    folder: Path
    config: dict
    timesteps: np.ndarray
    metrics: dict[str, np.ndarray]
    minutes: dict[int, float] = field(default_factory=dict)


@dataclass
class Curve:
    """One line of the figure: the trials that differ in nothing but their seed."""

    label: str
    trials: list[Trial]

    def timesteps(self) -> np.ndarray:
        """Timesteps at which every trial was evaluated; a trial still running shortens the curve."""
        common = set.intersection(*(set(trial.timesteps) for trial in self.trials))
        return np.array(sorted(common))

    def positions(self, over: str) -> np.ndarray:
        """Where the evaluations are along the axis: their timesteps, or minutes, mean over the seeds."""
        steps = self.timesteps()
        if over == "timesteps":
            return steps
        return np.mean([[trial.minutes[step] for step in steps] for trial in self.trials], axis=0)

    def values(self, metric: str) -> np.ndarray:
        """[seed, timestep]; NaN where no episode succeeded."""
        steps = self.timesteps()
        return np.array(
            [trial.metrics[metric][np.isin(trial.timesteps, steps)] for trial in self.trials], dtype=float
        )


def read_trial(folder: Path) -> Trial:
    """Read ``evaluations.npz`` and, where there is one, ``trial_config.json`` of a trial folder."""
    path, config_path = folder / FILE_NAME, folder / "trial_config.json"
    config = read_json(config_path) if config_path.exists() else {}
    if not isinstance(config, dict):
        raise InputError(f"{config_path}: must hold an object, holds a {type(config).__name__}")
    try:
        record = EvaluationRecord.load(folder, histories=False)
        rows = np.array([record.metrics(k)[1:] for k in range(len(record))], dtype=float)  # None becomes NaN
    except EvaluationFileError as error:
        raise InputError(str(error)) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not evaluation results: {reason(error)}") from None
    if not len(record):
        raise InputError(f"{path}: holds no evaluation yet")
    metrics = dict(zip((each.name for each in SHOWN.values()), rows.T, strict=True))
    metrics["energy"] = metrics["energy"] / 1000.0
    return Trial(folder, config, np.asarray(record.timesteps), metrics, read_minutes(folder))


def read_minutes(folder: Path) -> dict[int, float]:
    """Wall time in minutes of the evaluations of a trial, by timestep; empty if none is written."""
    path = folder / WALL_MINUTES
    if not path.exists():
        return {}
    try:
        rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
        return {int(timestep): float(minutes) for timestep, minutes in rows}
    except ValueError as error:
        raise InputError(f"{path}: not timesteps and minutes: {reason(error)}") from None


def find_trials(run: Path) -> list[Trial]:
    """All trials at or below a folder."""
    if not run.is_dir():
        raise InputError(f"{run}: no such folder")
    files = [run / FILE_NAME] if (run / FILE_NAME).exists() else sorted(run.rglob(FILE_NAME))
    if not files:
        begun = any(run.rglob(TRIAL_FILE))
        hint = "; what runs there are have not come to their first evaluation yet" if begun else ""
        raise InputError(f"{run}: no {FILE_NAME} in this folder or below it{hint}")
    return [read_trial(file.parent) for file in files]


def compared(config: dict) -> dict[str, str]:
    """What tells one curve from another, as text."""
    return {key: json.dumps(value) for key, value in config.items() if key not in NOT_COMPARED}


def curves_of(run: Path, name: str | None = None) -> list[Curve]:
    """Curves of a trial folder or a folder of trials; those that differ only in the seed become one."""
    groups: dict[str, list[Trial]] = {}
    for trial in find_trials(run):
        groups.setdefault(json.dumps(compared(trial.config), sort_keys=True), []).append(trial)
    settings = [compared(trials[0].config) for trials in groups.values()]
    varied = [key for key in settings[0] if len({each.get(key) for each in settings}) > 1]
    curves = []
    for trials in groups.values():
        config = trials[0].config
        agent_type = config.get("agent_type")
        parts = [name or agent_type or run.resolve().name]
        # The agent type needs no key before it, and no place of its own where it is the name.
        parts += [str(agent_type)] if name and "agent_type" in varied else []
        parts += [f"{key} {json.dumps(config.get(key))}" for key in varied if key != "agent_type"]
        curves.append(Curve(", ".join(parts), trials))
    return curves


def curves_of_runs(runs: Iterable[tuple[str | None, Path]], over: str = "timesteps") -> list[Curve]:
    """Curves of (label or None, folder) runs, all drawable; equal labels get their folder's name."""
    pairs = [(curve, folder) for name, folder in runs for curve in curves_of(folder, name)]
    counts = Counter(curve.label for curve, _ in pairs)
    for curve, folder in pairs:
        if counts[curve.label] > 1:
            curve.label = f"{curve.label} ({folder.resolve().name})"
        if not len(curve.timesteps()):
            raise InputError(
                f"{folder}: the trials of {curve.label!r} were never evaluated at the same timestep"
            )
        for trial in curve.trials if over == "minutes" else ():
            if not set(curve.timesteps()) <= trial.minutes.keys():
                raise InputError(f"{trial.folder / WALL_MINUTES}: does not hold the time of every evaluation")
    return [curve for curve, _ in pairs]


def mean_of(values: np.ndarray) -> np.ndarray:
    """Mean over the seeds that have a value, NaN (a gap) where none has."""
    count = np.sum(~np.isnan(values), axis=0)
    return np.divide(np.nansum(values, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def spread_of(values: np.ndarray, kind: str) -> np.ndarray:
    """Population standard deviation over the seeds that have a value; "sem" divides it by their root."""
    std = np.sqrt(mean_of((values - mean_of(values)) ** 2))
    count = np.maximum(np.sum(~np.isnan(values), axis=0), 1)
    return std / np.sqrt(count) if kind == "sem" else std


def draw_curve(axes: Axes, curve: Curve, index: int, metric: str, spread: str, over: str) -> None:
    """Line and band of one curve; single points, which a line between gaps would not show, as dots."""
    values, steps = curve.values(metric), curve.positions(over)
    mean, error = mean_of(values), spread_of(values, spread)
    colour, order = style.robot_colour(index), 10 - 0.1 * index
    axes.plot(steps, mean, color=colour, lw=2, zorder=order, label=curve.label)
    alone = ~np.isnan(mean) & ~(neighbour(mean, 1) | neighbour(mean, -1))
    axes.plot(steps[alone], mean[alone], "o", ms=4, color=colour, zorder=order)
    if len(curve.trials) > 1:
        axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.18, lw=0, zorder=order - 5)


def neighbour(values: np.ndarray, side: int) -> np.ndarray:
    """Whether the next value on ``side`` (+1 or -1) exists and is a number."""
    shifted = np.roll(~np.isnan(values), -side)
    shifted[-1 if side == 1 else 0] = False
    return shifted


def learning_curves(curves: list[Curve], spread: str = "sem", over: str = "timesteps") -> Figure:
    """Draw all four panels, the first curve on top; the band is ``"sem"`` or ``"std"`` over the seeds."""
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for panel, (metric, title, unit) in zip(axes.flat, PANELS, strict=True):
        for index, curve in enumerate(curves):
            draw_curve(panel, curve, index, metric, spread, over)
        panel.set_title(title)
        panel.set_ylabel(unit)
        style.open_frame(panel)
        if all(np.isnan(curve.values(metric)).all() for curve in curves):
            panel.set_yticks([])
            panel.text(
                0.5, 0.5, "no episode succeeded", ha="center", transform=panel.transAxes, color=style.QUIET
            )
    axes[0, 1].set_ylim(-0.03, 1.03)
    axes[0, 1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for panel in axes[1]:
        panel.set_xlabel("timesteps" if over == "timesteps" else "wall time in minutes")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.margins(x=0.01)
        panel.set_xlim(left=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    seeds = sorted({len(curve.trials) for curve in curves})
    if seeds[-1] > 1:
        counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        band = "standard error" if spread == "sem" else "standard deviation"
        handles.append(Patch(color=style.QUIET, alpha=0.25, lw=0))
        labels.append(f"± {band} over {counts} seeds")
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5))
    return figure
