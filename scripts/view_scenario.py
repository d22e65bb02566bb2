"""Draw scenarios: one episode dictionary, or an ``eval_configs.json`` as a sheet of maps."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import InputError, new_parser, output_path, pick, run

NAME = "view_scenario.py"
EXAMPLES = """  python scripts/view_scenario.py runs/training_STAMP/seed_0/eval_configs.json -o scenarios.png
  python scripts/view_scenario.py runs/training_STAMP/seed_0/eval_configs.json -e 0 9 -1 -c 3
  python scripts/view_scenario.py vrx_results/vrx_exp_config.json -o scenario.pdf"""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    parser.add_argument("scenarios", type=Path, help="JSON file: one episode dictionary, or a list of them")
    parser.add_argument("-e", "--episodes", type=int, nargs="+", help="which of the list (default: all)")
    parser.add_argument("-c", "--columns", type=int, help="maps in a row (default: as many as rows)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("scenario.png"), help="default: %(default)s"
    )
    parser.add_argument("--dpi", type=float, default=100, help="pixels per inch (default: %(default)g)")
    options = parser.parse_args(argv)
    if options.columns is not None and options.columns < 1:
        raise InputError(f"--columns {options.columns}: must be at least 1")
    if not 10 <= options.dpi <= 600:
        raise InputError(f"--dpi {options.dpi:g}: must be 10 to 600")
    return options


def work(argv: Sequence[str] | None) -> None:
    """Read, draw, write."""
    options = arguments(argv)
    output = output_path(options.output, (".png", ".pdf", ".svg"))
    # Drawing is imported late: --help and a bad command line answer at once.
    from scripts.drawing.episodes import read_episodes, world_of
    from scripts.drawing.output import save_figure
    from scripts.drawing.scenario import sheet

    episodes = read_episodes(options.scenarios)
    wanted = options.episodes if options.episodes is not None else range(len(episodes))
    chosen = [pick(k, len(episodes), "--episodes") for k in wanted]
    names = [f"Episode {k}" for k in chosen] if len(episodes) > 1 else [options.scenarios.stem]
    worlds = [world_of(episodes[k], f"{options.scenarios}: episode {k}") for k in chosen]
    save_figure(sheet(worlds, names, options.columns), output, options.dpi)
    print(f"{output}: {len(chosen)} of {len(episodes)} scenarios of {options.scenarios}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
