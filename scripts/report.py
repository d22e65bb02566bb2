"""Write one page about runs, self-contained: curves, tables of stages, best episodes to play, settings."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import new_parser, output_path, run
from scripts.plot_training_results import label_and_folder

NAME = "report"
EXAMPLES = """  python scripts/report.py runs/training_STAMP -o report.html
  python scripts/report.py ours=runs/training_STAMP theirs=runs/training_OTHER -o both.html

A run is a trial folder (with evaluations.npz) or a folder of them: trials that differ only in the
seed become one curve, the settings of a sweep one curve each."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    add = parser.add_argument
    add("runs", nargs="+", metavar="[NAME=]FOLDER", help="run folder, with an optional label")
    add("--title", default="Training report", help="default: %(default)s")
    add("--no-episodes", action="store_true", help="leave out the episodes: a small page, written at once")
    add("-o", "--output", type=Path, default=Path("report.html"), help="default: %(default)s")
    return parser.parse_args(argv)


def work(argv: Sequence[str] | None) -> None:
    """Read, draw, write."""
    options = arguments(argv)
    output = output_path(options.output, (".html",))
    from marinenav_env.files import write_text
    from scripts.drawing.learning import curves_of_runs
    from scripts.drawing.report import page

    curves = curves_of_runs(map(label_and_folder, options.runs))
    text = page(options.title, curves, not options.no_episodes)
    write_text(output, text)
    print(f"{output}: {len(curves)} curve(s), {len(text) / 1e6:.1f} MB")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
