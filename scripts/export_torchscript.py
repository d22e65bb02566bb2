"""Write the traced float64 network of a model folder, as the vehicles' planner loads it (agents spec 11)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.command_line import InputError, new_parser, run

DESCRIPTION = """\
Write traced_<TYPE>_model.pt from a model folder: the network that chooses the actions, rebuilt in float64 and
traced with torch.jit.trace for one observation (x1 (1, 7), x2 (1, 5, 5), mask (1, 5)), all float64.

  AC_IQN, DDPG  model((x1, x2, mask))                 action (1, 2) in (-1, 1)
  SAC           model((x1, x2, mask))                 mean (1, 2), log standard deviation (1, 2); not squashed
  DQN           model((x1, x2, mask))                 action values (1, 25)
  Rainbow       model((x1, x2, mask))                 probabilities (1, 25, 51), mean weights
  IQN           model((x1, x2, mask), taus (1, 32))   quantiles (1, 32, 25)

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/export_torchscript.py -M runs/training_2026-01-01-00-00-00/seed_0
  python scripts/export_torchscript.py -M runs/training_2026-01-01-00-00-00/seed_0 -O traced/"""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("export_torchscript", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "-M", "--model", type=Path, required=True, help="model folder of any of the six agents"
    )
    parser.add_argument(
        "-O",
        "--output-dir",
        type=Path,
        default=Path(),
        help="existing folder to write to (default: the current one)",
    )
    return parser


def work(argv: Sequence[str] | None) -> None:
    """Export one folder."""
    args = build_parser().parse_args(argv)
    if not args.model.is_dir():
        raise InputError(f"{args.model}: is not a model folder")
    if not args.output_dir.is_dir():
        raise InputError(f"{args.output_dir}: is not an existing folder")
    # Imported here: torch takes seconds, and help, version and wrong usage need none of it.
    import torch

    from agents.models.files import ModelFileError
    from agents.models.folder import load_agent
    from agents.models.traced import export_traced, traced_name

    try:
        agent = load_agent(args.model, dtype=torch.float64)
    except ModelFileError as error:
        raise InputError(str(error)) from error
    path = args.output_dir / traced_name(agent.agent_type)
    export_traced(agent.algorithm, path)
    print(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("export_torchscript", work, argv)


if __name__ == "__main__":
    sys.exit(main())
