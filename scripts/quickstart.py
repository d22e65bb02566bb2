"""Train the quickstart, draw an episode that its policy plays in the end, and say what to try next."""

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import config
from scripts import view_episode
from scripts.command_line import new_parser, run
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.program import typed

if TYPE_CHECKING:
    from torchrl_gpu.evaluation.record import EvaluationRecord

NAME = "quickstart"
EXAMPLES = """\
  python scripts/quickstart.py
  python scripts/quickstart.py seed=1 cvar=0.5"""


def arguments(argv: Sequence[str] | None) -> tuple[list[str], str]:
    """Command line of the training: config and what wins over it; and the config as the user may name it."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    parser.add_argument("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="keys that win over the config: seed=1"
    )
    args = parser.parse_intermixed_args(argv)
    path = Path(config.__file__).parent / "quickstart.json"
    name = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return ["-C", name, "-D", args.device, *args.overrides], name


def draw(folder: Path, episode: int) -> int:
    """Draw an episode of the last evaluation into the folder of a trial; returns the exit status."""
    output = str(folder / "episode.png")
    return view_episode.main([str(folder), "-e", str(episode), "-o", output])


def closest_encounter(record: "EvaluationRecord") -> int:
    """The episode of the last evaluation, of those that went well, in which two vessels came closest."""
    import numpy as np

    def distance(episode: int) -> float:
        ways = [np.array(rows)[:, :2] for rows in record.trajectories[-1][episode]]
        gaps = [np.hypot(*(a[: len(b)] - b[: len(a)]).T).min() for a, b in combinations(ways, 2)]
        return min(gaps, default=np.inf)

    successes = record.successes[-1]
    well = [episode for episode, success in enumerate(successes) if success]
    return min(well or range(len(successes)), key=distance)


def work(argv: Sequence[str] | None) -> int:
    """Train, draw, print."""
    training, name = arguments(argv)
    finished: list[Path] = []
    if status := train_torchrl_gpu.main(training, finished.append):
        return status
    from torchrl_gpu.evaluation.record import EvaluationRecord

    folder = finished[-1]
    episode = closest_encounter(EvaluationRecord.load(folder))
    if status := draw(folder, episode):
        return status
    print("\nTo try next:")
    print(f"  {typed('view')} {folder} -e {episode} -o episode.html")
    print("      the same episode as a page that plays it in a browser")
    print(f"  {typed('train')} -C {name} seed=1 cvar=0.5")
    print(f"      the same training with other keys; {typed('compare')} shows what they changed")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
