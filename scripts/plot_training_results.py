"""Plot learning curves of one or more runs: return, success rate, travel time and energy, over the seeds."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import new_parser, output_path, run

NAME = "plot_training_results.py"
EXAMPLES = """  python scripts/plot_training_results.py runs/training_STAMP
  python scripts/plot_training_results.py ours=runs/training_STAMP theirs=runs/training_OTHER -o curves.pdf
  python scripts/plot_training_results.py runs/training_STAMP --over minutes --spread std -o minutes.png

A run is a trial folder (with evaluations.npz) or a folder of them: trials that differ only in the
seed become one curve, the settings of a sweep one curve each. The first run is drawn on top."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    parser.add_argument("runs", nargs="+", metavar="[NAME=]FOLDER", help="run folder, with an optional label")
    parser.add_argument(
        "--spread", choices=("sem", "std"), default="sem", help="band: standard error or deviation"
    )
    parser.add_argument(
        "--over", choices=("timesteps", "minutes"), default="timesteps", help="minutes are those of the wall"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("learning_curves.png"), help="default: %(default)s"
    )
    return parser.parse_args(argv)


def label_and_folder(argument: str) -> tuple[str | None, Path]:
    """Split ``NAME=FOLDER``; a folder that exists under the whole text has no label."""
    name, sign, folder = argument.partition("=")
    return (name, Path(folder)) if sign and not Path(argument).exists() else (None, Path(argument))


def work(argv: Sequence[str] | None) -> None:
    """Read, print the final success rates, draw, write."""
    options = arguments(argv)
    output = output_path(options.output, (".png", ".pdf", ".svg"))
    from scripts.drawing.learning import curves_of_runs, learning_curves
    from scripts.drawing.output import save_figure

    curves = curves_of_runs(map(label_and_folder, options.runs), options.over)
    for curve in curves:
        finals = [
            f"seed {each.config.get('seed', '?')}: {each.metrics['success'][-1]:.2f}" for each in curve.trials
        ]
        print(f"{curve.label}: final success rate of {', '.join(finals)}")
    save_figure(learning_curves(curves, options.spread, options.over), output)
    print(output)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
