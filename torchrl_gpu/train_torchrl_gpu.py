"""The main job: ``python -m torchrl_gpu.train_torchrl_gpu -C config.json -D cuda``."""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torchrl_gpu.config import Trial
from torchrl_gpu.trials import build_parser, launch

EXAMPLES = """\
  python -m torchrl_gpu.train_torchrl_gpu -C config/quickstart.json -D cpu
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json -D cuda
  python -m torchrl_gpu.train_torchrl_gpu -C sweep.json -P 4      four trials of a sweep at a time
"""


def run_trial(trial: Trial, folder: Path, device: str, verbosity: str = "normal") -> None:
    """Train one trial in its folder and print how it ended.

    Args:
        trial: A validated trial.
        folder: Its existing folder.
        device: Torch device.
        verbosity: ``"quiet"``, ``"normal"`` or ``"verbose"``.
    """
    # Imported here: torch takes seconds, and help, version and refused configs need none of this.
    from torchrl_gpu.experiment import build_trainer
    from torchrl_gpu.progress import Verbosity

    logging.getLogger("torchrl").setLevel(logging.WARNING)  # it announces every storage it allocates
    trainer = build_trainer(trial, device, folder, Verbosity[verbosity.upper()])
    trainer.learn(folder)
    if verbosity != "quiet":
        print(trainer.record.summary(folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status, see :mod:`torchrl_gpu.trials`."""
    parser = build_parser(
        "train_torchrl_gpu", "Train agents of marinenav on TorchRL, on a CPU or a GPU.", EXAMPLES
    )
    args = parser.parse_args(argv)
    return launch(args, partial(run_trial, verbosity=args.verbosity), check)


def check(trial: Trial) -> None:
    """Refuse a trial that needs what is not installed."""
    if trial["logger"] != "csv":
        from torchrl_gpu.loggers import check_logger

        check_logger(trial)


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
