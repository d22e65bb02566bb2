"""What differs between runs: their configs, and how their evaluations went."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchrl_gpu.runs.listing import NOT_COMPARED, RunInfo, differing_keys, list_runs


class Point(NamedTuple):
    """One evaluation of a side, means over its seeds."""

    success_rate: float
    mean_return: float


@dataclass(frozen=True)
class Side:
    """Trials that differ in nothing but their seed."""

    label: str  # the folder given or, where that holds several sides, the one of the first trial
    trials: list[RunInfo]

    @property
    def config(self) -> dict[str, Any]:
        """What all its trials have in common."""
        config = self.trials[0].config
        return {key: value for key, value in config.items() if key not in (*NOT_COMPARED, "seed")}

    def curve(self) -> dict[int, Point]:
        """Its evaluations by timestep, those that all its trials have made."""
        rows = [{step: numbers for step, *numbers in trial.evaluations} for trial in self.trials]
        common = sorted(set.intersection(*(set(each) for each in rows)))
        return {step: Point(*np.mean([each[step] for each in rows], axis=0).tolist()) for step in common}


@dataclass(frozen=True)
class Comparison:
    """Several sides, in the order given, and what differs between them."""

    sides: list[Side]
    differing: dict[str, list[Any]]  # keys, with the value of each side, or None
    curves: list[dict[int, Point]]  # of each side, by timestep

    def timesteps(self, most: int = 20) -> list[int]:
        """Timesteps at which any side was evaluated, thinned out to so many, the last one included."""
        steps = sorted(set().union(*self.curves))
        if len(steps) <= most:
            return steps
        return [steps[k] for k in np.linspace(0, len(steps) - 1, most).round().astype(int)]


def compare(folders: Sequence[str | Path]) -> Comparison:
    """Compare trials, or runs: those that differ only in their seed are one side; see `list_runs`."""
    sides = [side for folder in folders for side in _sides(Path(folder))]
    configs = [side.config for side in sides]
    differing = {key: [config.get(key) for config in configs] for key in differing_keys(configs)}
    return Comparison(sides, differing, [side.curve() for side in sides])


def _sides(folder: Path) -> list[Side]:
    groups: dict[str, list[RunInfo]] = {}
    for trial in list_runs([folder]):
        values = Side("", [trial]).config
        groups.setdefault(json.dumps(values, sort_keys=True), []).append(trial)
    if len(groups) == 1:
        return [Side(str(folder), *groups.values())]
    return [Side(str(trials[0].folder), trials) for trials in groups.values()]
