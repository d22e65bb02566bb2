"""What the legacy experiments came to: their final models on the legacy episodes and on fresh ones.

Collected into small data files, from which tables and curves are made.
"""

import csv
import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.models.files import ModelFileError
from agents.policies import load_policy
from marinenav_env.files import replacing, write_text
from scripts.command_line import InputError, markdown_table, refused
from scripts.drawing.learning import Curve, Trial, learning_curves, read_trial
from scripts.drawing.output import save_figure
from scripts.tabulating.seeds import standard_error
from torchrl_gpu.evaluation.fleets import Beginning, play, results_of
from torchrl_gpu.evaluation.metrics import FleetMetrics, Metrics, Z
from torchrl_gpu.evaluation.one_by_one import evaluate
from torchrl_gpu.evaluation.task import Task
from torchrl_gpu.seeding import kept_generators, seed_everything

DATA, CURVES, TABLE = (f"reproduction{end}" for end in (".json", "_curves.csv", ".md"))
"""What is written, besides a picture of the learning curves of each kind of model."""
CURVE_COLUMNS = ("model", "agent", "seed", "timestep", "success", "return", "time", "energy")
METRICS = ("success", "return", "time", "energy")


class Model(NamedTuple):
    """A policy that is measured."""

    agent: str
    label: str  # "released", "legacy schedule", or what a user calls it
    seed: int | None
    path: Path


class Judge:
    """Measures models on the evaluation episodes of the legacy configs, and on fresh ones of their kind."""

    def __init__(self, schedule: dict[str, list], discount: float, fresh: int, episode_seed: int) -> None:
        number = fresh * len(schedule["num_episodes"])
        self.told = {"legacy": sum(schedule["num_episodes"]), "fresh": number, "seed": episode_seed}
        self._schedule, self._discount, self._each = schedule, discount, fresh
        self._fresh: list[dict] | None = None  # drawn when needed

    def __call__(self, model: Model, device: str) -> dict[str, Any]:
        """Metrics of a model, both kinds; ModelFileError if it is none."""
        with kept_generators(device):
            policy = load_policy(model.path, device)
            policy.GAMMA = self._discount
            task = Task.drawn(self._schedule, self._discount)
            seed_everything(0)
            legacy = Metrics.of_results(evaluate(task.world, policy, task.episodes, verbose=False))
            start = Beginning.loaded(self._fresh_episodes(), self.told["seed"], device)
            played = play(policy, start, self.told["seed"] + 1)
        fresh = FleetMetrics.of(results_of(played))
        return {"legacy": legacy._asdict(), "fresh": fresh._asdict()}

    def _fresh_episodes(self) -> list[dict]:
        if self._fresh is None:
            task = Task.drawn(self._schedule, self._discount, self.told["seed"], self._each)
            self._fresh = task.episodes
        return self._fresh


class Run(NamedTuple):
    """A trial whose learning curve is kept."""

    label: str  # as of its model
    folder: Path


def collect(models: Iterable[Model], runs: Iterable[Run], judge: Judge, folder: Path, device: str) -> None:
    """Bring the data files in a folder up to date: a model that they know is not measured again."""
    rows = known(folder, judge)
    for model in models:
        key, digest = (model.agent, model.label, model.seed), digest_of(model.path)
        if rows.get(key, {}).get("digest") == digest:
            continue
        with refused(ModelFileError):
            measured = judge(model, device)
        print(f"{model.agent}, {model.label}, seed {model.seed}: {measured['fresh']['success'].value:.3f}")
        rows[key] = dict(zip(Model._fields[:3], key, strict=True)) | {"digest": digest, **measured}
        data = {"episodes": judge.told, "models": list(rows.values())}
        write_text(folder / DATA, json.dumps(data, indent=1))
    write_curves(folder / CURVES, runs)


def known(folder: Path, judge: Judge) -> dict[tuple, dict[str, Any]]:
    """Models that were measured on the same episodes, by agent, label and seed."""
    if not (folder / DATA).exists():
        return {}
    data = json.loads((folder / DATA).read_text(encoding="utf-8"))
    if data["episodes"] != judge.told:
        raise InputError(f"{folder / DATA}: is of other episodes, {data['episodes']}; give another folder")
    return {tuple(row[key] for key in Model._fields[:3]): row for row in data["models"]}


def digest_of(path: Path) -> str:
    """What tells a model from another: of a file, or of all weights in a folder."""
    files = sorted(path.glob("*.pth")) if path.is_dir() else [path]
    with refused(OSError):
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def write_curves(path: Path, runs: Iterable[Run]) -> None:
    """Add the evaluations of runs to the curves that a file has, in place of those of the same run."""
    rows = by_run(path)
    for run in runs:
        trial = read_trial(run.folder)
        key = (run.label, trial.config["agent_type"], str(trial.config["seed"]))
        columns = zip(trial.timesteps, *(trial.metrics[name] for name in METRICS), strict=True)
        rows[key] = [
            [*key, str(int(step)), *("" if np.isnan(v) else f"{v:.6g}" for v in values)]
            for step, *values in columns
        ]
    with replacing(path, "w") as file:
        writer = csv.writer(file)
        writer.writerow(CURVE_COLUMNS)
        writer.writerows(row for key in sorted(rows) for row in rows[key])


def by_run(path: Path) -> dict[tuple[str, str, str], list[list[str]]]:
    """Rows of a file of curves by label, agent and seed."""
    groups: dict[tuple[str, str, str], list[list[str]]] = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            for row in list(csv.reader(file))[1:]:
                groups.setdefault((row[0], row[1], row[2]), []).append(row)
    return groups


def curves(path: Path, order: Sequence[str]) -> dict[str, list[Curve]]:
    """Learning curves of a file by label, an agent each."""
    found: dict[str, dict[str, list[Trial]]] = {}
    for (label, agent, seed), rows in by_run(path).items():
        values = np.array([[float(cell or "nan") for cell in row[3:]] for row in rows])
        metrics = dict(zip(METRICS, values.T[1:], strict=True))
        trial = Trial(Path(agent, seed), {}, values[:, 0].astype(int), metrics)
        found.setdefault(label, {}).setdefault(agent, []).append(trial)
    return {
        label: [Curve(agent, trials[agent]) for agent in dict.fromkeys([*order, *trials]) if agent in trials]
        for label, trials in found.items()
    }


def render(folder: Path, order: Sequence[str]) -> list[Path]:
    """Make table and picture from the data files; what was written."""
    written = []
    if (folder / DATA).exists():
        data = json.loads((folder / DATA).read_text(encoding="utf-8"))
        write_text(folder / TABLE, markdown(data, order))
        written.append(folder / TABLE)
    for label, found in curves(folder / CURVES, order).items():
        picture = folder / f"reproduction_{'_'.join(label.split())}.png"
        save_figure(learning_curves(found), picture)
        written.append(picture)
    return written


def markdown(data: Mapping[str, Any], order: Sequence[str]) -> str:
    """The table: a row for each agent and kind of model; means over seeds with their standard errors."""
    numbers = data["episodes"]
    head = ["agent", "model", "seeds", f"{numbers['legacy']} legacy episodes: success", "return"]
    head += [f"{numbers['fresh']:,} fresh episodes: success", "return", "time (s)", "energy (kN s)"]
    lines = []
    groups: dict[tuple[str, str], list[Mapping]] = {}
    places = {agent: place for place, agent in enumerate(order)}
    for row in sorted(data["models"], key=lambda row: (places.get(row["agent"], len(order)), row["agent"])):
        groups.setdefault((row["agent"], row["label"]), []).append(row)
    for (agent, label), rows in groups.items():
        legacy = [
            statistics.mean(row["legacy"][key] for row in rows) for key in ("success_rate", "mean_return")
        ]
        cells = [f"{legacy[0]:.3f}", f"{legacy[1]:.2f}"]
        for key, form in (("success", ".3f"), ("mean_return", ".2f")):
            cells.append(f"{mean(rows, key):{form}} ± {error(rows, key):{form}}")
        cells += [f"{mean(rows, 'time'):.1f}", f"{mean(rows, 'energy') / 1000:.1f}"]
        lines.append([agent, label, str(len(rows)), *cells])
    return markdown_table(head, lines, left=2)


def mean(rows: Sequence[Mapping], key: str) -> float:
    """Of an estimate over the seeds that have one: a seed without any success has no travel time."""
    values = [row["fresh"][key][0] for row in rows if row["fresh"][key][0] is not None]
    return statistics.mean(values) if values else float("nan")


def error(rows: Sequence[Mapping], key: str) -> float:
    """Standard error over seeds; of a single one that of its episodes."""
    if len(rows) > 1:
        return standard_error(row["fresh"][key][0] for row in rows)
    _, low, high, _ = rows[0]["fresh"][key]
    return (high - low) / 2 / Z
