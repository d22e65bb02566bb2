"""The main job: ``python -m torchrl_gpu.train_torchrl_gpu -C config.json -D cuda``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from torchrl_gpu.config import Trial
from torchrl_gpu.trials import build_parser, launch

EXAMPLES = """\
  python -m torchrl_gpu.train_torchrl_gpu -C config/quickstart.json -D cpu
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json -D cuda
  python -m torchrl_gpu.train_torchrl_gpu -C sweep.json -P 4      four trials of a sweep at a time
"""


def run_trial(trial: Trial, folder: Path, device: str) -> None:
    """Train one trial in its folder and print how it ended."""
    from torchrl_gpu.experiment import (
        build_trainer,
    )  # seconds of imports that help and errors do not wait for

    trainer = build_trainer(trial, device, folder)
    trainer.learn(folder)
    print(trainer.record.summary(folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status, see :mod:`torchrl_gpu.trials`."""
    parser = build_parser(
        "train_torchrl_gpu", "Train agents of marinenav on TorchRL, on a CPU or a GPU.", EXAMPLES
    )
    return launch(parser.parse_args(argv), run_trial)


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
