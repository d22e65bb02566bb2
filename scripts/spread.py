"""Whether trials that differ in one key learn differently, or only as seeds do."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scripts.command_line import InputError, check_file, markdown_table, new_parser, output_path, refused, run
from scripts.tabulating.seeds import standard_error
from torchrl_gpu.program import positive
from torchrl_gpu.settings.errors import ConfigError

if TYPE_CHECKING:
    from torchrl_gpu.runs.listing import RunInfo

NAME = "spread"
DESCRIPTION = """\
Say whether trials that differ in one key learn differently, or only as seeds do. Of every finished trial: the
mean over the last third of its evaluations, and the mean over its whole curve (the area under it), of return
and success. Of every value of the key: mean with standard error over seeds, the difference to the first value
with its 95 % interval (Welch; the intervals of one column hold together, after Bonferroni), and the
probability of so large a difference if the key did nothing (permutation test; a column's are corrected after
Holm).

The curves are kept in the file -o, to which further runs may be added; without RUN the table is made from it.
With --until they end at that timestep, and trials that are not finished but came so far count, too.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/spread.py runs/training_STAMP runs/training_OTHER --until 60000 -o num_envs.csv
  python scripts/spread.py -o num_envs.csv --first "num_envs 1\""""

LEVEL = 0.05
"""Of significance."""
MOST = 20_000
"""Permutations up to which all are tried; of more so many are drawn."""
MEASURES = {
    "return, last third": 0,
    "return, whole curve": 1,
    "success, last third": 2,
    "success, whole curve": 3,
}
"""Columns of the table, and which number of a trial each is."""


class Difference(NamedTuple):
    """Of means of two samples."""

    value: float
    half: float  # of its interval
    p: float  # of a permutation test, before it is corrected


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("runs", nargs="*", type=Path, metavar="RUN", help="run folder, or one of its trials")
    add("--key", default="num_envs", help="in which the trials differ (default: %(default)s)")
    add("--first", metavar="LABEL", help="with what the others are compared (default: the first by value)")
    add("--until", type=positive, help="timestep at which curves end (default: their last)")
    add("-o", "--output", type=Path, required=True, metavar="CSV", help="file of the curves")
    return parser


def numbers_of(rows: Sequence[Sequence[str]]) -> list[float]:
    """The `MEASURES` of one curve, its rows as in the file."""
    steps = np.array([int(row[3]) for row in rows])
    values = np.array([[float(row[5]), float(row[4])] for row in rows])  # return, success
    widths = np.diff(steps)[:, None]
    area = (widths * (values[1:] + values[:-1]) / 2).sum(0)
    whole = area / widths.sum() if len(values) > 1 else values[0]
    last = values[-max(1, round(len(values) / 3)) :].mean(0)
    return [float(value) for pair in zip(last, whole, strict=True) for value in pair]


def difference(ours: np.ndarray, theirs: np.ndarray, comparisons: int) -> Difference:
    """Of two samples, with an interval that holds for so many comparisons together."""
    from scipy.stats import ttest_ind  # scipy takes a while

    half = 0.0
    if ours.var() + theirs.var() > 0:
        welch = ttest_ind(ours, theirs, equal_var=False)
        low, high = welch.confidence_interval(1 - LEVEL / comparisons)
        half = float(high - low) / 2
    return Difference(float(ours.mean() - theirs.mean()), half, permutation_p(ours, theirs))


def permutation_p(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of all ways to divide the numbers whose means differ at least as much."""
    from scipy.stats import permutation_test

    def apart(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(ours.mean(axis) - theirs.mean(axis))

    options = {"n_resamples": MOST, "alternative": "greater", "random_state": 0}
    return float(permutation_test((ours, theirs), apart, **options).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Probabilities corrected for being several (Holm 1979)."""
    corrected, last = [0.0] * len(ps), 0.0
    for place, k in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        corrected[k] = last = max(last, min(1.0, (len(ps) - place) * ps[k]))
    return corrected


def samples(path: Path, until: int | None) -> dict[str, dict[str, np.ndarray]]:
    """The `MEASURES` of every trial of a file, [seeds, 4], by agent and label, labels by their value."""
    from scripts.tabulating.reproduction import by_run

    found: dict[str, dict[str, list[list[float]]]] = {}
    for (label, agent, _), rows in sorted(by_run(path).items(), key=lambda item: value_of(item[0][0])):
        steps = [int(row[3]) for row in rows]
        if until is None or max(steps) >= until:
            own = [row for row, step in zip(rows, steps, strict=True) if until is None or step <= until]
            if own:
                found.setdefault(agent, {}).setdefault(label, []).append(numbers_of(own))
    return {agent: {label: np.array(rows) for label, rows in each.items()} for agent, each in found.items()}


def value_of(label: str) -> tuple[float, str]:
    """What labels are sorted by: the number at their end, where there is one."""
    try:
        return float(label.split()[-1]), label
    except ValueError:
        return float("inf"), label


def markdown(agent: str, groups: Mapping[str, np.ndarray], first: str | None) -> str:
    """The table of an agent."""
    first = next(iter(groups)) if first is None else first
    if first not in groups:
        raise InputError(f"--first is {first!r}; of {agent} there are {', '.join(groups)}")
    others = [label for label in groups if label != first and len(groups[label]) > 1]
    columns = []
    for name, k in MEASURES.items():
        digits = 2 if name.startswith("return") else 3
        told = {}
        if len(groups[first]) > 1:
            told = {n: difference(groups[n][:, k], groups[first][:, k], len(others)) for n in others}
        ps = dict(zip(told, holm([each.p for each in told.values()]), strict=True))
        columns.append([cell(values[:, k], digits, told.get(n), ps.get(n)) for n, values in groups.items()])
    rows = [
        [n, str(len(groups[n])), *cells] for n, cells in zip(groups, zip(*columns, strict=True), strict=True)
    ]
    return markdown_table([agent, "seeds", *MEASURES], rows, left=2)


def cell(values: np.ndarray, digits: int, told: Difference | None, p: float | None) -> str:
    """Mean and standard error, then how far from the first label."""
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" ± {standard_error(values):.{digits}f}"
    if told is None:
        return text
    return f"{text}; {told.value:+.{digits}f} ± {told.half:.{digits}f}, p {p:.2f}"


def add_runs(args: argparse.Namespace) -> None:
    """Put the curves of the finished trials into the file."""
    from scripts.tabulating.reproduction import Run, write_curves
    from torchrl_gpu.runs.listing import list_runs
    from torchrl_gpu.runs.resuming import read_trial

    with refused(FileNotFoundError, ValueError):
        infos = [info for info in list_runs(args.runs) if usable(info, args.until)]
    if not infos:
        raise InputError(f"{args.runs[0]}: no trial is finished, or came so far as --until says")
    output_path(args.output, (".csv",), replaced=False)
    try:
        labels = [f"{args.key} {json.dumps(read_trial(info.folder)[args.key])}" for info in infos]
    except ConfigError as error:
        raise InputError(str(error)) from None
    except KeyError:
        raise InputError(f"--key is {args.key!r}, which not all of these trials have") from None
    write_curves(args.output, [Run(label, info.folder) for label, info in zip(labels, infos, strict=True)])


def usable(info: "RunInfo", until: int | None) -> bool:
    """Whether a trial is finished, or came far enough."""
    return info.state == "finished" or (until is not None and any(e[0] >= until for e in info.evaluations))


def work(argv: Sequence[str] | None) -> None:
    """Keep the curves, print the tables."""
    args = build_parser().parse_args(argv)
    if args.runs:
        add_runs(args)
    check_file(args.output)
    for agent, groups in samples(args.output, args.until).items():
        print(markdown(agent, groups, args.first))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
