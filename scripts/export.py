"""Write the network of a model folder that chooses the actions, as another program loads it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.command_line import InputError, model_refused, new_parser, output_path, run

if TYPE_CHECKING:
    from agents.learners.base import Learner

NAME = "export"
FORMATS = ("torchscript",)
DESCRIPTION = """\
Write the network of a model folder that chooses the actions, rebuilt in float64, for other programs.

  torchscript   traced_<TYPE>_model.pt, traced with torch.jit.trace, for the vehicles' planner (LibTorch)

It takes one observation, (x1 (1, 7), x2 (1, 5, 5), mask (1, 5)), and where the learner needs them quantile
fractions. What was written is named, with the shapes that go in and come out.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/export.py -M runs/training_STAMP/seed_0
  python scripts/export.py -M runs/training_STAMP/seed_0/best -o ."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    parser.add_argument("-M", "--model", type=Path, required=True, help="model folder")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="default: %(default)s")
    parser.add_argument(
        "-o",
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
        what = "is not a model folder" if args.model.exists() else "no such model folder"
        raise InputError(f"{args.model}: {what}")
    if not args.output_dir.is_dir():
        raise InputError(f"{args.output_dir}: is not an existing folder")
    # Imported here: torch takes seconds, and help, version and wrong usage need none of it.
    import torch

    from agents.models.files import ModelFileError
    from agents.models.folder import load_agent
    from agents.models.traced import export_traced, traced_name

    formats = {"torchscript": (traced_name, export_traced)}
    name, write = formats[args.format]
    with model_refused(args.model, ModelFileError):
        agent = load_agent(args.model, dtype=torch.float64)
    path = output_path(args.output_dir / name(agent.agent_type), (".pt",))
    write(agent.learner, path)
    print(f"{path}: {signature(agent.learner)}")


def signature(learner: "Learner") -> str:
    """Shapes that the exported network takes and gives."""
    with learner.acting_mode(use_eval=True):
        call, inputs = learner.planner()
        return f"{', '.join(map(shapes, inputs))} -> {shapes(call(*inputs))}"


def shapes(value: Any) -> str:
    """Shapes of tensors, nested in tuples as these are."""
    return f"({', '.join(map(shapes, value))})" if isinstance(value, tuple) else str(tuple(value.shape))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
