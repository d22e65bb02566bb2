"""List the runs in folders: how each stands, what it changed, and how well it did."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import new_parser, refused, run
from torchrl_gpu.runs.listing import list_runs, table_of

EXAMPLES = """\
  python scripts/runs.py
  python scripts/runs.py runs --sort best
  python scripts/runs.py runs --json"""

SORTED_BY = {
    "folder": lambda info: str(info.folder),
    "state": lambda info: info.state,
    "agent": lambda info: info.agent,
    "timesteps": lambda info: -info.timesteps,
    "speed": lambda info: -(info.speed or 0.0),
    "last": lambda info: -(info.last if info.last is not None else -1.0),
    "best": lambda info: -(info.best if info.best is not None else -1.0),
}
"""What lists can be sorted by; of numbers the largest comes first."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("runs", __doc__, EXAMPLES)
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        metavar="DIR",
        help="run folder, or a folder of runs (default: runs)",
    )
    parser.add_argument("--sort", choices=SORTED_BY, default="folder", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def work(argv: Sequence[str] | None) -> None:
    """Read, sort, print."""
    args = build_parser().parse_args(argv)
    with refused(FileNotFoundError, ValueError):
        infos = sorted(list_runs(args.folders), key=SORTED_BY[args.sort])
    if args.json:
        print(json.dumps([info.as_dict() for info in infos], indent=2))
        return
    print(table_of(infos))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("runs", work, argv)


if __name__ == "__main__":
    sys.exit(main())
