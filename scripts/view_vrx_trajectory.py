"""Draw the trajectories of a VRX (Gazebo) experiment on the map of its scenario."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import new_parser, output_path, pick, run

NAME = "view_vrx_trajectory.py"
EXAMPLES = """  python scripts/view_vrx_trajectory.py vrx_results
  python scripts/view_vrx_trajectory.py vrx_results -s 100 200 300 -o tracks.pdf

The folder holds vrx_exp_config.json and vrx_exp_traj.json, as the VRX experiment runner writes them."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    parser.add_argument("folder", type=Path, help="folder of one VRX experiment")
    parser.add_argument(
        "-s",
        "--steps",
        type=int,
        nargs="+",
        help="samples at which vessels are drawn (default: three, evenly)",
    )
    default = Path("vrx_episode_section.png")
    parser.add_argument("-o", "--output", type=Path, default=default, help="default: %(default)s")
    return parser.parse_args(argv)


def work(argv: Sequence[str] | None) -> None:
    """Read, draw, write."""
    options = arguments(argv)
    output = output_path(options.output, (".png", ".pdf", ".svg"))
    from scripts.drawing.output import save_figure
    from scripts.drawing.vrx import read_experiment, trajectory_figure

    world, tracks = read_experiment(options.folder)
    shortest = min(len(track.seconds) for track in tracks)
    wanted = options.steps or [(shortest - 1) * part // 3 for part in (1, 2, 3)]
    steps = [pick(step, shortest, "--steps") for step in wanted]
    save_figure(trajectory_figure(world, tracks, steps), output)
    print(f"{output}: {len(tracks)} vessels at samples {', '.join(map(str, steps))} of {shortest}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
