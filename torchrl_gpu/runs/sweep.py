"""What both command lines share: arguments, trial folders, and sweeps that one failing trial does not stop.

Exit statuses: 0 every trial finished, 1 a trial failed or the run was interrupted, 2 the command line or the
config cannot be run.
"""

import argparse
import json
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torchrl_gpu.program import called_as, new_parser
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.runs.folder import create_run_folders
from torchrl_gpu.runs.job import Job, RunTrial, together
from torchrl_gpu.runs.standing import OFTEN, Standing
from torchrl_gpu.settings.parse import ConfigError, Experiment, Trial, read_config
from torchrl_gpu.settings.trial import TOGETHER
from torchrl_gpu.watch.terminal import lasting_output

Check = Callable[[Trial, int], None]
"""Raises ConfigError for a trial that cannot be run; called with how many run at a time."""

LARGEST_ARGUMENT = 10**9
"""Largest number of processes, environments or the like that a command line takes."""

SUMMARY_KEYS = ("seed", "total_timesteps", "eval_freq", "imitation_learning", "agent_type")


def build_parser(
    prog: str, description: str, examples: str, config_required: bool = True
) -> argparse.ArgumentParser:
    """Parser with the flags of the legacy command line, ``--version``, and examples below the help."""
    parser = new_parser(prog, description, examples, "python -m torchrl_gpu.train_torchrl_gpu")
    parser.add_argument("-C", "--config-file", required=config_required, help="JSON file of the experiment")
    parser.add_argument(
        "-P", "--num-procs", type=positive, default=1, help="trials run at a time (default: %(default)s)"
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


def positive(text: str) -> int:
    """A whole number from 1 to `LARGEST_ARGUMENT`, for argparse."""
    if not text.isdecimal() or len(text) > 20 or not 1 <= int(text) <= LARGEST_ARGUMENT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {LARGEST_ARGUMENT}")
    return int(text)


@lasting_output()
def launch(
    args: argparse.Namespace,
    run_trial: RunTrial,
    check: Check = lambda trial, at_once: None,
    keep_config: bool = False,
    first_line: Callable[[Trial], str] | None = None,
    read: Callable[[str], Experiment] = read_config,
    ranks: Ranks = ALONE,
    workers: "Workers | None" = None,
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


@contextmanager
def agreed(ranks: Ranks) -> Iterator[None]:
    """What is refused within the block on one rank, by a ConfigError, is refused on all."""
    refusal = ""
    try:
        yield
    except ConfigError as error:
        refusal = str(error)
    for said in filter(None, ranks.gathered(refusal)):
        raise ConfigError(said)


def refuse(error: ConfigError) -> int:
    """Say what is wrong with the input; returns the exit status."""
    print(": ".join(filter(None, (called_as.get(), "error", str(error)))), file=sys.stderr)
    return 2


def run_jobs(
    jobs: Sequence[Job], num_procs: int, workers: "Workers | None" = None, shown: bool = False
) -> int:
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


def check_device(name: str, where: str = "argument -D/--device") -> None:
    """Refuse a device, named by ``where``, that torch does not know or that this machine does not have."""
    import torch  # seconds: help, version and config errors do not wait for it

    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    known = device is not None and (device.type == "cuda" or device == torch.device("cpu"))
    if not known:
        raise ConfigError(f"{where}: device {name!r} is unknown; allowed are cpu, cuda and cuda:N")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        missing = " that torch can use, as it is built without CUDA" if torch.version.cuda is None else ""
        raise ConfigError(
            f"{where}: device {name!r} is not available; this machine has {count} CUDA device(s){missing}; "
            "cpu is always there"
        )


def check_model(trial: Trial) -> None:
    """Refuse a trial whose ``load_model`` is not a model folder of its agent."""
    if trial["load_model"] is None:
        return
    from agents.agent import Agent
    from agents.models.files import ModelFileError

    try:
        Agent(agent_type=trial["agent_type"], training=False).load_model(trial["load_model"])
    except ModelFileError as error:
        raise ConfigError(f"key 'load_model': {error}") from error


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
        print(_interrupted(stop), file=sys.stderr)
    return finished


def _interrupted(stop: KeyboardInterrupt) -> str:
    return f"interrupted; {stop}" if str(stop) else "interrupted"


class Workers:
    """The processes of a sweep on this machine: one a trial, so that a killed one takes no other with it.

    `torchrl_gpu.runs.cluster` has those of a cluster.
    """

    def __init__(self) -> None:
        self.active: set[BaseProcess] = set()

    def check(self, trials: Sequence[Trial], device: str) -> None:
        """Refuse trials that these workers have no device for, or cannot stop early."""
        check_device(device)
        for scheduler in filter(None, (trial.search.scheduler for trial in trials)):
            raise ConfigError(f"key 'scheduler': {json.dumps(scheduler)} needs --ray")

    def run(self, job: Job) -> bool:
        """Run a job in a fresh process; it inherits no random state (Defect T9). True when done."""
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(job,))
        try:
            process.start()
        except OSError as error:
            print(f"trial {', '.join(job.names)} failed: cannot start a process: {error}", file=sys.stderr)
            return False
        self.active.add(process)
        process.join()
        self.active.discard(process)
        if process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            print(f"trial {', '.join(job.names)} failed: its process was ended by {name}", file=sys.stderr)
        return process.exitcode == 0

    def terminate(self) -> None:
        """Pass a SIGTERM on."""
        for process in tuple(self.active):
            process.terminate()

    def interrupt(self) -> None:
        """Let those under way save and stop; processes of a terminal have heard it themselves."""

    def close(self) -> None:
        """Let go of what was held for all jobs."""


@contextmanager
def terminated_with_us(workers: Workers) -> Iterator[None]:
    """Pass SIGTERM on to the workers, and end the sweep as an interruption."""

    def forward(signum: int, frame: Any) -> None:
        workers.terminate()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not ours to handle
        return
    previous = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


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


@lasting_output()
def work(job: Job) -> bool:
    """What a worker does: one job. True when done."""
    try:
        return job.run()
    except KeyboardInterrupt as stop:
        print(_interrupted(stop), file=sys.stderr, flush=True)
        return False


def _work(job: Job) -> None:
    """A job's outcome as exit status."""
    sys.exit(0 if work(job) else 1)
