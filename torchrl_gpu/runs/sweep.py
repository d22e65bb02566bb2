"""What both command lines share: arguments, trial folders, and sweeps that one failing trial does not stop.

Exit statuses: 0 every trial finished, 1 a trial failed or the run was interrupted, 2 the command line or the
config cannot be run.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from torchrl_gpu.program import new_parser, positive
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.runs.folder import create_run_folders
from torchrl_gpu.runs.job import Job, RunTrial, together
from torchrl_gpu.runs.refusals import Check, agreed, check_model, refuse
from torchrl_gpu.runs.standing import OFTEN, Standing
from torchrl_gpu.runs.workers import Workers, interrupted, terminated_with_us
from torchrl_gpu.settings.parse import ConfigError, Experiment, Trial, read_config
from torchrl_gpu.settings.trial import TOGETHER
from torchrl_gpu.watch.terminal import lasting_output

SUMMARY_KEYS = ("seed", "total_timesteps", "eval_freq", "imitation_learning", "agent_type")


def build_parser(
    prog: str, description: str, examples: str, config_required: bool = True
) -> argparse.ArgumentParser:
    """Parser with the flags of the legacy command line, ``--version``, and examples below the help."""
    parser = new_parser(prog, description, examples, "python -m torchrl_gpu.train_torchrl_gpu")
    parser.add_argument("-C", "--config-file", required=config_required, help="JSON file of the experiment")
    parser.add_argument(
        "-P", "--num-procs", type=positive, default=1, help="trials run at a time (default: 1)"
    )
    parser.add_argument(
        "-D", "--device", default="cpu", help="cpu, cuda or cuda:N, for all trials (default: %(default)s)"
    )
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument(
        "--quiet", dest="verbosity", action="store_const", const="quiet", help="print errors only"
    )
    volume.add_argument(
        "--verbose",
        dest="verbosity",
        action="store_const",
        const="verbose",
        help="also print the legacy reports of episodes and evaluations",
    )
    parser.set_defaults(verbosity="normal")
    return parser


@lasting_output()
def launch(
    args: argparse.Namespace,
    run_trial: RunTrial,
    check: Check = lambda trial, at_once: None,
    keep_config: bool = False,
    first_line: Callable[[Trial], str] | None = None,
    read: Callable[[str], Experiment] = read_config,
    ranks: Ranks = ALONE,
    workers: Workers | None = None,
) -> int:
    """Check everything, then run every trial of the config; returns the exit status, 0, 1 or 2.

    Before anything wrong with the input is known, nothing is written. ``run_trial`` may raise
    KeyboardInterrupt to end the whole sweep. With ``keep_config`` the config goes into the run's folder too:
    resuming needs it for trials not yet begun. ``first_line`` is what there is to say about a trial before
    anything else; said once where several agree. Several ``ranks`` train every trial together;
    ``workers`` train trials elsewhere than here.
    """
    try:
        with agreed(ranks):
            experiment = read(args.config_file)
            (workers or Workers()).check(experiment.trials, args.device)
            at_once = most_at_once(experiment.trials, args.num_procs)
            for trial in experiment.trials:
                check(trial, at_once)
                check_model(trial)
        stamp = ranks.from_first(lambda: create_run_folders(experiment, keep_config))
    except ConfigError as error:
        return refuse(error)
    if args.verbosity != "quiet":
        lines = map(first_line, experiment.trials) if first_line else ()
        print(*dict.fromkeys(lines), setup_summary(experiment), sep="\n")
    jobs = [
        Job(run_trial, trial, trial_folder(trial, stamp), stamp, args.device, ranks=ranks)
        for trial in experiment.trials
    ]
    return run_jobs(jobs, args.num_procs, workers, shown=args.verbosity != "quiet")


def most_at_once(trials: Sequence[Trial], num_procs: int) -> int:
    """How many trials are under way at a time, in so many processes."""
    return min(num_procs * max((trial[TOGETHER] for trial in trials), default=1), len(trials))


def run_jobs(jobs: Sequence[Job], num_procs: int, workers: Workers | None = None, shown: bool = False) -> int:
    """Run jobs, ``num_procs`` at a time, and name those that did not finish; returns the exit status.

    Those of seeds that are trained together are one. Without ``workers`` they run in processes, or in turn in
    this one. If it is to be ``shown``, a table says meanwhile how several of them stand.
    """
    number = len(jobs)
    jobs = together(jobs)
    standing = Standing(jobs) if shown and number > 1 and jobs[0].ranks.first else None
    if workers is None and num_procs == 1:
        finished = run_in_turn(jobs, standing)
    else:
        at_once = max(1, min(num_procs, len(jobs)))
        finished = run_at_once(jobs, at_once, workers or Workers(), standing)
    if standing:
        standing.show()
    failed = [name for job, done in zip(jobs, finished, strict=True) if not done for name in job.names]
    if failed:
        print(f"{len(failed)} of {number} trials did not finish: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def setup_summary(experiment: Experiment) -> str:
    """The config's main keys as written, lists not yet expanded."""
    lines = [f"{key}: {json.dumps(experiment.written[key])}" for key in SUMMARY_KEYS]
    return "\n".join(["======== training setup ========", *lines, "======== training setup ========", ""])


def trial_folder(trial: Trial, stamp: str) -> Path:
    """Where a trial writes (training spec 2.3)."""
    return Path(trial["save_dir"], f"training_{stamp}", trial.name)


def run_in_turn(jobs: Sequence[Job], standing: Standing | None = None) -> list[bool]:
    """Run the jobs one after another in this process; an interruption leaves the rest undone.

    So does a failure on one of several ranks: the others wait for it, and end with this process.
    """
    finished = [False] * len(jobs)
    try:
        for k, job in enumerate(jobs):
            finished[k] = job.run()
            if standing and k < len(jobs) - 1:
                standing.look()
            if not finished[k] and job.ranks.count > 1:
                break
    except KeyboardInterrupt as stop:
        print(interrupted(stop), file=sys.stderr)
    return finished


def run_at_once(
    jobs: Sequence[Job], number: int, workers: Workers, standing: Standing | None = None
) -> list[bool]:
    """Run the jobs by workers, ``number`` at a time; an interruption waits for those under way."""
    with terminated_with_us(workers), ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(workers.run, job) for job in jobs]
        try:
            while standing and wait(futures, OFTEN).not_done:
                standing.look()
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            pool.shutdown(wait=False, cancel_futures=True)
            workers.interrupt()
            pool.shutdown()
        finally:
            workers.close()
    return [future.done() and not future.cancelled() and future.result() for future in futures]
