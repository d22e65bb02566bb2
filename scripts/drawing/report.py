"""A page about runs that needs no other file: curves, tables of stages, best episodes to play, settings."""

import html
import io
import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import chain
from typing import Any

import numpy as np

from marinenav_env.envs.contract.episode import things_in
from scripts.command_line import InputError
from scripts.drawing.episode import EpisodeView
from scripts.drawing.episodes import read_episodes, read_json
from scripts.drawing.learning import NOT_COMPARED, Curve, Trial, learning_curves, mean_of
from scripts.drawing.output import player
from scripts.drawing.recording import read_recording
from scripts.tabulating.seeds import standard_error
from scripts.view_episode import WIDTHS, animation_steps
from torchrl_gpu.evaluation.metrics import Metrics
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.evaluation.task import stages_in
from torchrl_gpu.runs.surroundings import FILE as SURROUNDINGS


def rows_of(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """An HTML table; what it holds is text, not HTML."""
    lines = [[f"<th>{html.escape(str(cell))}</th>" for cell in header]]
    lines += [[f"<td>{html.escape(str(cell))}</td>" for cell in row] for row in rows]
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    return f'<div class="scroll"><table>\n{body}\n</table></div>'


def number(value: float, digits: int) -> str:
    """A number, or a dash for NaN."""
    return "-" if np.isnan(value) else f"{value:,.{digits}f}"


def spread(values: Sequence[float], digits: int) -> str:
    """Mean over the seeds and, of several, the standard error."""
    error = f" ± {number(standard_error(values), digits)}" if len(values) > 1 else ""
    return number(np.mean(values), digits) + error


def summary(curves: Sequence[Curve]) -> str:
    """A row for each curve: seeds, length, last and best evaluation."""
    rows = []
    for curve in curves:
        success = [trial.metrics["success"] for trial in curve.trials]
        minutes = [max(trial.minutes.values()) for trial in curve.trials if trial.minutes]
        rows.append(
            [
                curve.label,
                ", ".join(str(trial.config.get("seed", "?")) for trial in curve.trials),
                f"{curve.timesteps()[-1]:,}",
                spread(minutes, 0) if minutes else "-",
                spread([values[-1] for values in success], 3),
                spread([trial.metrics["return"][-1] for trial in curve.trials], 2),
                spread([values.max() for values in success], 3),
            ]
        )
    names = ["run", "seeds", "timesteps", "minutes", "last success", "last return", "best success"]
    return rows_of(names, rows)


def figure(curves: Sequence[Curve]) -> str:
    """The learning curves as a picture in the page."""
    memory = io.BytesIO()
    learning_curves(list(curves)).savefig(memory, format="svg", bbox_inches="tight")
    return (
        f'<img alt="learning curves" src="data:image/svg+xml;base64,{b64encode(memory.getvalue()).decode()}">'
    )


def stage_table(curve: Curve) -> str:
    """Success and return of each stage in the best evaluation of each seed."""
    columns: dict[tuple, list[Metrics]] = {}
    for trial in curve.trials:
        record, k = best_evaluation(trial)
        episodes = read_episodes(trial.folder / "eval_configs.json")
        stage_of = stages_in(episodes)
        for stage in dict.fromkeys(stage_of):
            own = [episode for episode, index in enumerate(stage_of) if index == stage]
            columns.setdefault((stage, *things_in(episodes[own[0]])), []).append(record.part(k, own))
    rows = [
        [
            *stage,
            sum(each.episodes for each in found),
            spread([each.success_rate for each in found], 3),
            spread([each.mean_return for each in found], 2),
            number(mean_of(np.array([each.mean_time for each in found], dtype=float)), 1),
        ]
        for stage, found in columns.items()
    ]
    names = ["stage", "robots", "vortices", "obstacles", "episodes", "success", "return", "travel time (s)"]
    return f"<h3>{html.escape(curve.label)}</h3>\n{rows_of(names, rows)}"


def best_evaluation(trial: Trial) -> tuple[EvaluationRecord, int]:
    """The evaluations of a trial, without histories, and which was the best."""
    record = EvaluationRecord.load(trial.folder, histories=False)
    return record, record.best


def best_episode(curve: Curve) -> str:
    """The best episode of the last stage in a curve's best evaluation, to be played."""
    trial = max(curve.trials, key=lambda trial: trial.metrics["return"].max())
    record, k = best_evaluation(trial)
    stage_of = stages_in(read_episodes(trial.folder / "eval_configs.json"))
    hardest = [episode for episode, stage in enumerate(stage_of) if stage == stage_of[-1]]
    episode = max(hardest, key=lambda e: (record.successes[k][e], record.rewards[k][e]))
    try:
        recording = read_recording(trial.folder, k, episode)
    except InputError as error:
        return f"<p>{html.escape(f'{curve.label}: {error}')}</p>"
    view = EpisodeView(recording, width=WIDTHS[".html"])
    page = player(view.frames(animation_steps(recording.last_step, None)), 10.0, recording.title)
    words = f"{curve.label}, {trial.folder.name}: {recording.title}, {recording.summary()}"
    return f'<h3>{html.escape(words)}</h3>\n<iframe title="episode" srcdoc="{html.escape(page)}"></iframe>'


def settings(curves: Sequence[Curve]) -> str:
    """What the runs share, and what differs."""
    configs = [curve.trials[0].config for curve in curves]
    keys = [key for key in dict.fromkeys(chain(*configs)) if key not in NOT_COMPARED]
    values = {key: [json.dumps(config[key]) if key in config else "-" for config in configs] for key in keys}
    labels = [curve.label for curve in curves]
    differing = [[key, *cells] for key, cells in values.items() if len(set(cells)) > 1]
    shared = [[key, cells[0]] for key, cells in values.items() if len(set(cells)) == 1]
    parts = [rows_of(["differs", *labels], differing)] if differing else []
    if shared:
        table = rows_of(["key", "value"], shared)
        parts.append(f"<details open><summary>shared keys</summary>\n{table}\n</details>")
    return "\n".join(parts)


def surroundings(curves: Sequence[Curve]) -> str:
    """Hardware and versions that the runs noted, a column for each curve."""
    noted = []
    for curve in curves:
        path = curve.trials[0].folder / SURROUNDINGS
        parts = read_json(path) if path.exists() else {}
        noted.append({name: value for part in parts.values() for name, value in part.items()})
    names = list(dict.fromkeys(chain(*noted)))
    if not names:
        return f"<p>The runs hold no {SURROUNDINGS}.</p>"
    rows = [[name, *(each.get(name, "-") for each in noted)] for name in names]
    return rows_of(["", *(curve.label for curve in curves)], rows)


def page(title: str, curves: Sequence[Curve], episodes: bool) -> str:
    """The whole page."""
    parts = [summary(curves), "<h2>Learning curves</h2>", figure(curves)]
    parts += ["<h2>Stages, best evaluation</h2>", *map(stage_table, curves)]
    if episodes:
        parts += ["<h2>Best episodes</h2>", *map(best_episode, curves)]
    parts += ["<h2>Settings</h2>", settings(curves), "<h2>Machine and versions</h2>", surroundings(curves)]
    template = resources.files("scripts.drawing").joinpath("report.html").read_text(encoding="utf-8")
    return template.replace("/*TITLE*/", html.escape(title)).replace("/*BODY*/", "\n".join(parts))
