"""The main job: ``python -m torchrl_gpu.train_torchrl_gpu -C config.json -D cuda``."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torchrl_gpu.runs.resuming import resume
from torchrl_gpu.runs.sweep import build_parser, launch
from torchrl_gpu.settings.parse import Trial, read_config

EXAMPLES = """\
  python -m torchrl_gpu.train_torchrl_gpu -C config/quickstart.json -D cpu
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json -D cuda --fast
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json --fast agent_type=SAC,DQN seed=0..4
  python -m torchrl_gpu.train_torchrl_gpu -C sweep.json -P 4      four trials of a sweep at a time
  python -m torchrl_gpu.train_torchrl_gpu --resume runs/training_2026-01-31-12-00-00
"""


def run_trial(trial: Trial, folder: Path, device: str, verbosity: str = "normal") -> None:
    """Train one trial in its existing folder and print how it ended; see `api.run_trial`."""
    # Imported here: torch takes seconds, and help, version and refused configs need none of this.
    from torchrl_gpu import api

    api.run_trial(trial, folder, device, verbosity)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status, see :mod:`torchrl_gpu.runs.sweep`."""
    description = "Train agents on TorchRL. Exit status: 0 done, 1 failed or interrupted, 2 usage."
    parser = build_parser("train_torchrl_gpu", description, EXAMPLES, config_required=False)
    parser.add_argument(
        "--resume", metavar="RUN_DIR", help="go on with the trial or trials in this folder, instead of -C"
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="throughput keys that suit the device, where the config gives none; same schedule",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="keys that win over the config: seed=0..3 tau=0.5,1"
    )
    args = parser.parse_intermixed_args(argv)
    if args.config_file is None and args.resume is None:
        parser.error("the following arguments are required: -C/--config-file, or --resume")
    if args.config_file is not None and args.resume is not None:
        parser.error("argument --resume: not allowed with argument -C/--config-file")
    run = partial(run_trial, verbosity=args.verbosity)
    checks = partial(check, device=args.device)
    if args.resume is not None and (args.overrides or args.fast):
        parser.error("argument --resume: not allowed with --fast or key=value")
    if args.resume is not None:
        return resume(args, run, checks, lost_results)
    read = partial(read_config, overrides=args.overrides, fast_on=args.device if args.fast else None)
    return launch(args, run, checks, keep_config=True, first_line=lambda trial: trial.mode, read=read)


def check(trial: Trial, at_once: int, device: str) -> None:
    """Refuse a trial that needs what is not there: a logger, a device, or memory for all that run at once."""
    from torchrl_gpu import api

    api.check_trial(trial, device, at_once)


def lost_results(folder: Path, trial: Trial) -> str | None:
    """What is wrong with the results in the folder of a finished trial, or None."""
    from torchrl_gpu.runs import results

    return results.lost_results(folder, trial)


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
