"""The main job: ``python -m torchrl_gpu.train_torchrl_gpu -C config.json -D cuda``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchrl_gpu.program import LARGEST_ARGUMENT, packages_needed
from torchrl_gpu.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torchrl_gpu.settings.parse import Trial

EXAMPLES = """\
  python -m torchrl_gpu.train_torchrl_gpu -C config/quickstart.json -D cpu
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json -D cuda --fast
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json --fast agent_type=SAC,DQN seed=0..4 -P 4
  python -m torchrl_gpu.train_torchrl_gpu --resume runs/training_STAMP
  python -m torchrl_gpu.train_torchrl_gpu -C config/ac_iqn.json --fast seed=0..9 --ray 10.0.0.1:6379
  python -m torchrl_gpu.train_torchrl_gpu -C config/fast_dqn.json seeds_together=4
  torchrun --nproc-per-node 8 -m torchrl_gpu.train_torchrl_gpu -C config/fast_sac.json -D cuda

Two values of a key, or more, are a sweep: a trial for each combination, -P of them at a time.
Processes that torchrun starts train every trial together; environments, batch and memory are shared."""


def nothing(folder: Path) -> None:
    """What follows on a trial unless something else is asked for."""


def run_trial(
    trial: "Trial",
    folder: Path,
    device: str,
    verbosity: str = "normal",
    then: Callable[[Path], None] = nothing,
    ranks: Ranks = ALONE,
    others: Mapping[Path, "Trial"] = MappingProxyType({}),
) -> None:
    """Train one trial in its existing folder, with others, print how it ended; see `running.run_trials`."""
    # Imported here: torch takes seconds, and help, version and refused configs need none of this.
    from torchrl_gpu.running import run_trials

    trials = {folder: trial, **others}
    run_trials(trials, device, verbosity, ranks=ranks)
    if ranks.first:
        for each in trials:
            then(each)


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    from torchrl_gpu.runs import cluster, sweep

    description = "Train agents on TorchRL. Exit status: 0 done, 1 failed or interrupted, 2 usage."
    parser = sweep.build_parser("train_torchrl_gpu", description, EXAMPLES, config_required=False)
    parser.add_argument(
        "--resume", metavar="RUN_DIR", help="go on with the trial or trials in this folder, instead of -C"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const=cluster.LOCAL,
        help="run trials as tasks of the Ray cluster at ADDRESS, or of one on this machine; "
        "as many at a time as there is room for, but -P at most",
    )
    parser.set_defaults(num_procs=None)  # with --ray as many as there is room for
    parser.add_argument(
        "--fast",
        action="store_true",
        help="throughput keys that suit the device, where the config gives none; same schedule",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="keys that win over the config: seed=0..3 tau=0.5,1"
    )
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; an error exits with status 2."""
    from torchrl_gpu.runs.cluster import LOCAL

    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    for given in args.overrides:
        if given.endswith(".json") and "=" not in given:
            parser.error(f"{given}: a config is given by -C {given}")
    if args.config_file is None and args.resume is None:
        parser.error("the following arguments are required: -C/--config-file, or --resume")
    if args.config_file is not None and args.resume is not None:
        parser.error("argument --resume: not allowed with argument -C/--config-file")
    if args.ray and "=" in args.ray:  # it is no address: a key that follows --ray
        args.overrides.insert(0, args.ray)
        args.ray = LOCAL
    at_once = args.num_procs or 1
    args.num_procs = args.num_procs or (LARGEST_ARGUMENT if args.ray else 1)
    if Ranks.here().count > 1 and (args.ray or at_once > 1):
        parser.error("arguments -P and --ray: not allowed with torchrun, whose processes train one trial")
    if args.resume is not None and (args.overrides or args.fast):
        parser.error("argument --resume: not allowed with --fast or key=value")
    return args


@packages_needed()
def main(argv: Sequence[str] | None = None, then: Callable[[Path], None] = nothing) -> int:
    """Run the command line; returns its exit status, see :mod:`torchrl_gpu.runs.sweep`.

    ``then`` is told of the folder of each trial when it has finished.
    """
    ranks = Ranks.here()
    with ranks.speaking():
        args = parse(argv)
        args.device = ranks.device(args.device)
        ranks.join(args.device)
        status = train(args, then, ranks)
    if status == 0:
        ranks.leave()
    return status


def train(args: argparse.Namespace, then: Callable[[Path], None], ranks: Ranks) -> int:
    """Do what the command line asks for; returns the exit status."""
    # Imported here: whoever lacks a package these need is told so.
    from torchrl_gpu.runs.cluster import LOCAL, of_ray
    from torchrl_gpu.runs.refusals import refuse
    from torchrl_gpu.runs.resuming import resume
    from torchrl_gpu.runs.sweep import launch
    from torchrl_gpu.settings.parse import ConfigError, read_config

    run = partial(run_trial, verbosity=args.verbosity, then=then, ranks=ranks)
    checks = partial(check, device=args.device, ranks=ranks)
    workers = None
    if args.ray:
        try:
            workers = of_ray(args.ray, args.num_procs)
        except ConfigError as error:
            return refuse(error)
        args.num_procs = workers.most
        checks = checks if args.ray == LOCAL else elsewhere
    if args.resume is not None:
        return resume(args, run, checks, lost_results, ranks, workers)
    read = partial(read_config, overrides=args.overrides, fast_on=args.device if args.fast else None)
    return launch(
        args,
        run,
        checks,
        keep_config=True,
        first_line=lambda trial: trial.mode_on(args.device),
        read=read,
        ranks=ranks,
        workers=workers,
    )


def elsewhere(trial: "Trial", at_once: int) -> None:
    """Refuse nothing: what another machine has is found out there."""


def check(trial: "Trial", at_once: int, device: str, ranks: Ranks = ALONE) -> None:
    """Refuse a trial that needs what is not there: a logger, a device, or memory for all that run at once."""
    from torchrl_gpu import api

    at_once = at_once if device.startswith("cuda") else at_once * ranks.local_count  # they share its memory
    api.check_trial(trial.of_rank(ranks.count), device, at_once)


def lost_results(folder: Path, trial: "Trial") -> str | None:
    """What is wrong with the results in the folder of a finished trial, or None."""
    from torchrl_gpu.runs import results

    return results.lost_results(folder, trial)


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
