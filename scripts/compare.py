"""Compare runs: what differs in their configs, and their success rates and returns side by side."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import InputError, new_parser, refused, run
from torchrl_gpu.program import table
from torchrl_gpu.runs.comparison import Comparison, Point, compare

EXAMPLES = """\
  python scripts/compare.py runs/training_STAMP runs/training_OTHER

Trials that differ only in their seed are one side, whose evaluations are means; of one sweep, its
settings are compared with each other."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("compare", __doc__, EXAMPLES)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN", help="run folder, or one of its trials"
    )
    return parser


def configs(comparison: Comparison) -> str:
    """The keys that differ."""
    letters = [chr(ord("A") + k) for k in range(len(comparison.sides))]
    rows = [
        [key, *("-" if value is None else json.dumps(value) for value in values)]
        for key, values in comparison.differing.items()
    ]
    return (
        table(["key", *letters], rows, left=len(letters) + 1)
        if rows
        else "the configs differ in nothing but the seed"
    )


def curves(comparison: Comparison) -> str:
    """Success rate and return of each side over the timesteps."""
    letters = [chr(ord("A") + k) for k in range(len(comparison.sides))]
    header = ["timestep", *(f"{letter} success  return" for letter in letters)]
    rows = [
        [f"{step:,}", *(cell(curve.get(step)) for curve in comparison.curves)]
        for step in comparison.timesteps()
    ]
    return table(header, rows, left=len(header))


def cell(point: Point | None) -> str:
    """Both numbers of an evaluation, a dash where there is none."""
    return "-" if point is None else f"{point.success_rate:9.2f}  {point.mean_return:6.2f}"


def work(argv: Sequence[str] | None) -> None:
    """Read, compare, print."""
    args = build_parser().parse_args(argv)
    with refused(FileNotFoundError, ValueError):
        comparison = compare(args.folders)
    if len(comparison.sides) < 2:
        raise InputError(f"{args.folders[0]}: one side only; give another run to compare it with")
    for k, side in enumerate(comparison.sides):
        print(f"{chr(ord('A') + k)}  {side.label}  ({len(side.trials)} seed(s))")
    print("", configs(comparison), "", curves(comparison), sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("compare", work, argv)


if __name__ == "__main__":
    sys.exit(main())
