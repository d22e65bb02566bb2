"""The main job: ``python -m torchrl_gpu.train_torchrl_gpu -C config.json -D cuda``."""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torchrl_gpu.runs.folder import locked, mark_finished
from torchrl_gpu.runs.interruption import Interrupted, StopRequests
from torchrl_gpu.runs.resuming import resume
from torchrl_gpu.runs.sweep import build_parser, check_device, launch
from torchrl_gpu.settings.parse import Trial

if TYPE_CHECKING:
    from torchrl_gpu.runs.checkpoint import Checkpoints

EXAMPLES = """\
  python -m torchrl_gpu.train_torchrl_gpu -C config/quickstart.json -D cpu
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json -D cuda
  python -m torchrl_gpu.train_torchrl_gpu -C sweep.json -P 4      four trials of a sweep at a time
  python -m torchrl_gpu.train_torchrl_gpu --resume runs/training_2026-01-31-12-00-00
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
    import torch

    from torchrl_gpu.experiment import build_trainer
    from torchrl_gpu.runs.checkpoint import Checkpoints
    from torchrl_gpu.runs.memory import explaining_shortage
    from torchrl_gpu.watch.loggers import rewind
    from torchrl_gpu.watch.progress import Verbosity

    logging.getLogger("torchrl").setLevel(logging.WARNING)  # it announces every storage it allocates
    if torch.device(device).index is not None:
        torch.cuda.set_device(device)  # or libraries would start one on the first GPU as well
    with locked(folder), StopRequests() as requests, explaining_shortage(trial):
        trainer = build_trainer(trial, device, folder, Verbosity[verbosity.upper()])
        checkpoints = Checkpoints(trainer, trial, folder)
        checkpoints.restore()
        rewind(folder, trainer.timestep, trainer.record)

        def between_steps() -> None:
            if requests.received:
                saved = checkpoints.save()
                raise Interrupted(how_to_go_on(checkpoints, folder, device, saved))
            if checkpoints.due:
                checkpoints.save()

        try:
            trainer.learn(folder, between_steps)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            note = how_to_go_on(checkpoints, folder, device, saved=False)
            raise Interrupted(f"stopped at once, without a checkpoint; {note}") from None
        mark_finished(folder, trainer.timestep, trainer.updates)
    if verbosity != "quiet":
        print(trainer.record.summary(folder))


def how_to_go_on(checkpoints: "Checkpoints", folder: Path, device: str, saved: bool) -> str:
    """What an interrupted run says; ``saved`` tells whether its last checkpoint is of this moment."""
    start = f"from timestep {checkpoints.last}" if checkpoints.last is not None else "from the beginning"
    if not saved:
        start += ", the last checkpoint" if checkpoints.last is not None else ""
    return f"to go on {start}: python -m torchrl_gpu.train_torchrl_gpu --resume {folder} -D {device}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status, see :mod:`torchrl_gpu.runs.sweep`."""
    description = "Train agents on TorchRL. Exit status: 0 done, 1 failed or interrupted, 2 usage."
    parser = build_parser("train_torchrl_gpu", description, EXAMPLES, config_required=False)
    parser.add_argument(
        "--resume", metavar="RUN_DIR", help="go on with the trial or trials in this folder, instead of -C"
    )
    args = parser.parse_args(argv)
    if args.config_file is None and args.resume is None:
        parser.error("the following arguments are required: -C/--config-file, or --resume")
    if args.config_file is not None and args.resume is not None:
        parser.error("argument --resume: not allowed with argument -C/--config-file")
    run = partial(run_trial, verbosity=args.verbosity)
    checks = partial(check, device=args.device)
    if args.resume is not None:
        return resume(args, run, checks, lost_results)
    return launch(args, run, checks, keep_config=True)


def check(trial: Trial, at_once: int, device: str) -> None:
    """Refuse a trial that needs what is not there: a logger, a device, or memory for all that run at once."""
    from torchrl_gpu.runs.memory import check_memory
    from torchrl_gpu.watch.loggers import check_logger

    check_logger(trial)
    if trial["replay_device"] != "auto":
        check_device(trial["replay_device"], "key 'replay_device'")
    check_memory(trial, device, at_once)


def lost_results(folder: Path, trial: Trial) -> str | None:
    """What is wrong with the results in the folder of a finished trial, or None."""
    from torchrl_gpu.runs import results

    return results.lost_results(folder, trial)


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
