"""Write the network of a model folder that chooses the actions, as another program loads it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from scripts.command_line import InputError, model_refused, new_parser, output_path, refused, run

if TYPE_CHECKING:
    from agents.learners.base import Learner

NAME = "export"
FORMATS = ("torchscript", "onnx", "pt2")
DTYPES = ("float64", "float32")
DESCRIPTION = """\
Write the network of a model folder that chooses the actions, rebuilt in float64, for other programs.

  torchscript   traced_<TYPE>_model.pt, traced with torch.jit.trace, for the vehicles' planner (LibTorch)
  onnx          <TYPE>_model.onnx, for onnxruntime and others; needs pip install "marinenav[export]"
  pt2           <TYPE>_model.pt2, of torch.export, for torch.export.load and AOTInductor

It takes one observation, (x1 (1, 7), x2 (1, 5, 5), mask (1, 5)), and where the learner needs them quantile
fractions. What was written is named, with the shapes that go in and come out, and how far its numbers are
from those of the network: a file that differs is not written. --check looks at the file that is there
instead, and runs its code. With --dtype float32 the name of a file ends in _float32.

Exit status: 0 done, 1 failed, 2 bad usage or bad input, or a file that differs."""

EXAMPLES = """\
  python scripts/export.py -M runs/training_STAMP/seed_0
  python scripts/export.py -M runs/training_STAMP/seed_0/best -o .
  python scripts/export.py --zoo sac --format onnx --dtype float32
  python scripts/export.py -M runs/training_STAMP/seed_0 --check"""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-M", "--model", type=Path, help="model folder")
    what.add_argument("--zoo", metavar="NAME", help="a policy of the zoo, by its name: see marinenav zoo")
    add("--format", choices=FORMATS, default=FORMATS[0], help="default: %(default)s")
    add("--dtype", choices=DTYPES, default=DTYPES[0], help="precision of all numbers (default: %(default)s)")
    add("--check", action="store_true", help="write nothing; compare the file that is there with the network")
    add(
        "-o",
        "-O",
        "--output-dir",
        type=Path,
        default=Path(),
        help="existing folder to write to (default: the current one)",
    )
    return parser


def work(argv: Sequence[str] | None) -> None:
    """Export one folder, or check what was exported."""
    args = build_parser().parse_args(argv)
    if args.zoo is not None:
        with refused(ValueError):
            args.model = models.folder(args.zoo)
    if not args.model.is_dir():
        what = "is not a model folder" if args.model.exists() else "no such model folder"
        raise InputError(f"{args.model}: {what}")
    if not args.output_dir.is_dir():
        raise InputError(f"{args.output_dir}: is not an existing folder")
    # Imported here: torch takes seconds, and help, version and wrong usage need none of it.
    import torch

    from agents.models.exported import FORMATS, ExportError, check_model, export_model, export_name
    from agents.models.files import ModelFileError
    from agents.models.folder import load_agent

    dtype = getattr(torch, args.dtype)
    with model_refused(args.model, ModelFileError):
        agent = load_agent(args.model, dtype=dtype)
    path = args.output_dir / export_name(agent.agent_type, args.format, dtype)
    make = check_model
    if not args.check:
        path, make = output_path(path, (FORMATS[args.format].suffix,)), export_model
    try:
        gap = make(agent.learner, path, args.format)
    except ExportError as error:
        raise InputError(f"{path}: {agent.agent_type} in {args.dtype}: {error}") from error
    print(f"{path}: {signature(agent.learner)}; within {gap:.1g} of the network")


def signature(learner: "Learner") -> str:
    """Shapes that the exported network takes and gives."""
    from agents.models.exported import planner_of

    with planner_of(learner) as planner:
        return f"{', '.join(map(shapes, planner.inputs))} -> {shapes(planner.module(*planner.inputs))}"


def shapes(value: Any) -> str:
    """Shapes of tensors, nested in tuples as these are."""
    return f"({', '.join(map(shapes, value))})" if isinstance(value, tuple) else str(tuple(value.shape))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
