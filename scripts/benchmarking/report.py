"""From measured rounds to rates, tables and a figure."""

import os
import platform
import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy
import tensordict
import torch
import torchrl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.benchmarking.measuring import SECTIONS, Counts, Round
from scripts.drawing import style
from torchrl_gpu import __version__

Row = dict[str, Any]

DEFINITIONS = {
    "timestep": "one step of one environment, all its robots; a vector step of E environments is E timesteps",
    "robot transition": "one step of one robot that was in the water, stored in the replay memory",
    "update": "one gradient update of all networks of an agent",
    "split": "CPU time (on a GPU: wall time) of a round of its own, in microseconds a timestep",
    "evaluate": "in a split: one evaluation, measured apart, by eval_freq",
    "ratio_wall": "median over the rounds of timesteps/s by those of the legacy pipeline in the same round",
    "ratio_cpu": "the same by CPU time of the process, which other work on the machine lengthens less",
    "ratio_transitions_cpu": "the same in robot transitions; the share of active robots may differ",
}


def machine(device: str) -> Row:
    """Hardware and its load."""
    cuda = torch.device(device).type == "cuda"
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> Row:
    """What was measured, and with what."""
    packages = (torch, torchrl, tensordict, numpy, matplotlib)
    return {
        "marinenav": __version__,
        "python": platform.python_version(),
        **{package.__name__: package.__version__ for package in packages},
    }


def loop_row(labels: Row, rounds: Sequence[Round], legacy: Sequence[Round], split: Round) -> Row:
    """Rates, ratios and time split of one pipeline.

    Args:
        labels: Agent, pipeline, number of environments.
        rounds: Of the pipeline.
        legacy: Of the legacy pipeline, round by round in turn with them.
        split: The round with the sections timed.
    """
    row = dict(labels)
    for name in Counts._fields:
        row[f"{name}_per_s"] = statistics.median(getattr(r.counts, name) / r.wall for r in rounds)
    row["timesteps_per_cpu_s"] = statistics.median(r.counts.timesteps / r.cpu for r in rounds)
    pairs = list(zip(rounds, legacy, strict=True))
    row["ratio_wall"] = statistics.median(_ratio(a, b, "timesteps", "wall") for a, b in pairs)
    row["ratio_cpu"] = statistics.median(_ratio(a, b, "timesteps", "cpu") for a, b in pairs)
    row["ratio_transitions_cpu"] = statistics.median(_ratio(a, b, "transitions", "cpu") for a, b in pairs)
    row["split_us"] = split_us(split)
    row["rounds"] = [{**r.counts._asdict(), "wall_s": r.wall, "cpu_s": r.cpu} for r in rounds]
    return row


def _ratio(ours: Round, legacy: Round, count: str, time: str) -> float:
    rates = [getattr(r.counts, count) / getattr(r, time) for r in (ours, legacy)]
    return rates[0] / rates[1]


def split_us(measured: Round) -> dict[str, float]:
    """Microseconds a timestep in each section, and in none of them."""
    per_timestep = 1e6 / measured.counts.timesteps
    return {name: measured.split.get(name, 0.0) * per_timestep for name in SECTIONS}


def evaluation_rows(rows: list[Row]) -> list[Row]:
    """Median times of each way of evaluating, and their ratio to the legacy one."""
    for row in rows:
        for key in ("wall_s", "cpu_s", "robot_steps"):
            row[key] = statistics.median(r[key] for r in row["rounds"])
    legacy = next(row for row in rows if row["pipeline"] == "legacy")
    for row in rows:
        for kind in ("wall", "cpu"):
            row[f"ratio_{kind}"] = legacy[f"{kind}_s"] / row[f"{kind}_s"]
    return rows


def same_run_rows(rows: list[Row]) -> list[Row]:
    """Median times of each pipeline for the learning half of a run, and their ratio, run by run."""
    legacy, _ = rows
    for row in rows:
        pairs = list(zip(row["rounds"], legacy["rounds"], strict=True))
        for kind in ("wall", "cpu"):
            seconds = [r[f"{kind}_s"] for r in row["rounds"]]
            row[f"{kind}_ms_per_timestep"] = 2e3 * statistics.median(seconds) / row["timesteps"]
            row[f"ratio_{kind}"] = statistics.median(b[f"{kind}_s"] / a[f"{kind}_s"] for a, b in pairs)
    return rows


def add_evaluation(loops: list[Row], evaluations: list[Row], eval_freq: int) -> None:
    """Put the share of an evaluation in a timestep into the splits, where both were measured."""
    for loop in loops:
        for row in evaluations:
            same = loop["agent"] == row["agent"] and loop["evaluates"] == row["pipeline"]
            if same:
                loop["split_us"]["evaluate"] = 1e6 * row["cpu_s"] / eval_freq


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned text: the first two columns to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    return "\n".join(
        "  ".join(f"{cell:{'<' if k < 2 else '>'}{widths[k]}}" for k, cell in enumerate(row)).rstrip()
        for row in (header, *rows)
    )


def loop_table(rows: Sequence[Row]) -> str:
    """Rates and time split of training loops."""
    sections = [*SECTIONS, "evaluate"]
    header = [
        "agent",
        "pipeline",
        "timesteps/s",
        "transitions/s",
        "updates/s",
        "x wall",
        "x cpu",
        "x transitions",
    ]
    lines = []
    for row in rows:
        rates = [f"{row[f'{name}_per_s']:,.0f}" for name in Counts._fields]
        ratios = [f"{row[key]:.2f}" for key in ("ratio_wall", "ratio_cpu", "ratio_transitions_cpu")]
        split = [f"{row['split_us'][name]:.1f}" if name in row["split_us"] else "-" for name in sections]
        lines.append([row["agent"], label(row), *rates, *ratios, *split])
    return table([*header, *(f"{name} us" for name in sections)], lines)


def same_run_table(rows: Sequence[Row]) -> str:
    """Times of runs that both pipelines made alike."""
    header = ["agent", "pipeline", "timesteps", "wall ms/timestep", "cpu ms/timestep", "x wall", "x cpu"]
    keys = ("wall_ms_per_timestep", "cpu_ms_per_timestep", "ratio_wall", "ratio_cpu")
    lines = [
        [row["agent"], row["pipeline"], f"{row['timesteps']:,}", *(f"{row[key]:.2f}" for key in keys)]
        for row in rows
    ]
    return table(header, lines)


def evaluation_table(rows: Sequence[Row]) -> str:
    """Times of whole evaluations."""
    header = ["agent", "pipeline", "episodes", "robot steps", "wall s", "cpu s", "x wall", "x cpu"]
    lines = [
        [row["agent"], row["pipeline"], str(row["episodes"]), f"{row['robot_steps']:,.0f}"]
        + [f"{row[key]:.2f}" for key in ("wall_s", "cpu_s", "ratio_wall", "ratio_cpu")]
        for row in rows
    ]
    return table(header, lines)


def replay_table(rows: Sequence[Row]) -> str:
    """Times of a vector step's storing and of a batch's drawing."""
    header = ["memory", "stored", "extend 5000, wall us", "cpu us", "sample 64, wall us", "cpu us"]
    keys = [(op, kind) for op in ("extend_5000_us", "sample_64_us") for kind in ("wall", "cpu")]
    lines = [
        [row["memory"], f"{row['stored']:,}", *(f"{row[op][kind]:,.0f}" for op, kind in keys)] for row in rows
    ]
    return table(header, lines)


def label(row: Row) -> str:
    """Name of a pipeline in tables and legends."""
    return "legacy" if row["pipeline"] == "legacy" else f"TorchRL, E = {row['num_envs']}"


def figure(title: str, rows: Sequence[Row]) -> Figure:
    """Timesteps/s of every agent and pipeline, and where their time goes."""
    size = max(4.0, 0.3 * len(rows) + 1.6)
    drawing = Figure(figsize=(13, size), layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    drawing.suptitle(title, x=0.01, ha="left", weight="bold")
    for place, row in enumerate(rows):
        draw_rate(left, place, row)
        draw_split(right, place, row["split_us"])
    left.set_xscale("log")
    left.margins(x=0.15)
    names = [f"{row['agent']}  {label(row)}{'' if row['learning'] else ', collection'}" for row in rows]
    left.set_yticks(range(len(rows)), names)
    left.grid(axis="both", color="#dfe5ea", linewidth=0.8)
    left.invert_yaxis()
    left.set_xlabel("timesteps/s (number: times the legacy pipeline)")
    right.set_xlabel("share of the time (%)")
    handles, sections = right.get_legend_handles_labels()
    unique = dict(zip(sections, handles, strict=True))
    right.legend(unique.values(), unique, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(unique))
    return drawing


def draw_rate(axes: Axes, place: int, row: Row) -> None:
    """One point of the left panel, which is logarithmic: a bar would start anywhere."""
    colour = style.QUIET if row["pipeline"] == "legacy" else style.robot_colour(0)
    rate = row["timesteps_per_s"]
    axes.plot(rate, place, "o", ms=9, color=colour)
    axes.annotate(
        f"{row['ratio_wall']:.3g}", (rate, place), (9, 0), textcoords="offset points", va="center", fontsize=9
    )


def draw_split(axes: Axes, place: int, split: dict[str, float]) -> None:
    """One stacked bar of the right panel."""
    total, left = sum(split.values()), 0.0
    for index, name in enumerate((*SECTIONS, "evaluate")):
        share = 100 * max(split.get(name, 0.0), 0.0) / total
        axes.barh(place, share, left=left, color=style.robot_colour(index), label=name)
        left += share
