"""Write the scenario of a VRX (Gazebo) experiment as an episode dictionary.

The VRX experiment runner reads from it the robots' starts, goals and initial yaws and the obstacles'
positions, at most four of them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import InputError, new_parser, output_path, run

NAME = "vrx_experiment_config.py"
EXAMPLES = """  python scripts/vrx_experiment_config.py
  python scripts/vrx_experiment_config.py --seed 12 --robots 4 --obstacles 4 -o vrx_4.json"""

RANGES = {
    "seed": (6, 0, 2**32 - 1, "seed of the scenario"),
    "robots": (5, 1, 50, "vessels"),
    "cores": (0, 0, 50, "vortices; VRX has no current of this kind"),
    "obstacles": (3, 0, 50, "static obstacles; the VRX runner uses the first four"),
    "min-distance": (40, 0, 72, "least distance from start to goal in m"),
}
"""Option: default, least, greatest, help."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    for name, (default, low, high, text) in RANGES.items():
        text = f"{text}, {low} to {high} (default: %(default)s)"
        parser.add_argument(
            f"--{name}", type=float if name == "min-distance" else int, default=default, help=text
        )
    default = Path("vrx_exp_config.json")
    parser.add_argument("-o", "--output", type=Path, default=default, help="default: %(default)s")
    options = parser.parse_args(argv)
    for name, (_, low, high, _) in RANGES.items():
        value = getattr(options, name.replace("-", "_"))
        if not low <= value <= high:
            raise InputError(f"--{name} {value:g}: must be {low} to {high}")
    return options


def work(argv: Sequence[str] | None) -> None:
    """Generate the scenario and write it."""
    options = arguments(argv)
    output = output_path(options.output, (".json",))
    from marinenav_env.envs.reference.world import MarineNavEnv3

    env = MarineNavEnv3(seed=options.seed)
    env.num_robots, env.num_cores, env.num_obs = options.robots, options.cores, options.obstacles
    env.min_start_goal_dis = options.min_distance
    env.reset()
    # A scenario that came out short (Quirk W9) could not be loaded again.
    placed = {"robots": env.robots, "cores": env.cores, "obstacles": env.obstacles}
    for name, things in placed.items():
        if len(things) < getattr(options, name):
            raise InputError(
                f"--{name} {getattr(options, name)}: only {len(things)} found room; ask for fewer"
            )
    env.save_episode(output)
    print(f"{output}: seed {options.seed}, " + ", ".join(f"{len(t)} {name}" for name, t in placed.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
