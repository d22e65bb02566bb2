"""Going on with the trials of a run folder: ``--resume``."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torchrl_gpu.evaluation.record import FILE_NAME
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.runs.checkpoint import ranks_of
from torchrl_gpu.runs.folder import (
    CHECKPOINTS,
    CONFIG_FILE,
    FINISHED_FILE,
    LOCK_FILE,
    STOPPED_FILE,
    TRIAL_FILE,
    FolderInUseError,
    is_finished,
    locked,
)
from torchrl_gpu.runs.job import Job, RunTrial
from torchrl_gpu.runs.refusals import Check, agreed, check_model, refuse
from torchrl_gpu.runs.surroundings import FILE as SURROUNDINGS
from torchrl_gpu.runs.sweep import most_at_once, run_jobs
from torchrl_gpu.runs.workers import Workers
from torchrl_gpu.settings.parse import ConfigError, Trial, make_trials, read_config, without_stamp
from torchrl_gpu.watch.terminal import lasting_output

LostResults = Callable[[Path, Trial], str | None]
"""What is wrong with the results in the folder of a finished trial, or None."""


@lasting_output()
def resume(
    args: argparse.Namespace,
    run_trial: RunTrial,
    check: Check,
    lost_results: LostResults,
    ranks: Ranks = ALONE,
    workers: Workers | None = None,
) -> int:
    """Go on with every unfinished trial in ``args.resume``, the folder of a trial or of a run.

    Takes ``args`` with ``resume``, ``device``, ``num_procs`` and ``verbosity``; returns the exit status: 0, 1
    or 2, see :mod:`torchrl_gpu.runs.sweep`.
    """
    try:
        found = trials_in(Path(args.resume))
    except ConfigError as error:
        return refuse(error)
    return go_on(found, args, run_trial, check, lost_results, ranks=ranks, workers=workers)


def go_on(
    found: Mapping[Path, Trial],
    args: argparse.Namespace,
    run_trial: RunTrial,
    check: Check,
    lost_results: LostResults,
    stamp: str | None = None,
    ranks: Ranks = ALONE,
    workers: Workers | None = None,
) -> int:
    """Begin or go on with every unfinished trial of these folders, as `resume` does.

    Folders need not be there yet, but those above them; trials that begin now get the time ``stamp``, or
    that of the run's folder.
    """
    try:
        with agreed(ranks):
            (workers or Workers()).check(list(found.values()), args.device)
        undone = ranks.from_first(
            lambda: [each for each in found if not _is_done(each, found[each], lost_results)]
        )
        left = {folder: found[folder] for folder in undone}
        at_once = most_at_once(list(left.values()), args.num_procs)
        with agreed(ranks):
            for folder, trial in left.items():
                check(trial, at_once)
                check_model(trial)
                _check_ranks(folder, ranks)
                _check_pipeline(folder)
        ranks.from_first(lambda: [_check_free(folder) for folder in left])
    except ConfigError as error:
        return refuse(error)
    if args.verbosity != "quiet":
        print(f"{len(found) - len(left)} of {len(found)} trials are finished")
        print(*dict.fromkeys(f"{trial.mode_on(args.device)}\n" for trial in left.values()), sep="", end="")
        for folder in left:
            if (folder / FILE_NAME).exists() and not has_checkpoints(folder):
                print(f"{folder} has no checkpoint: it begins again, and its results are replaced")
    jobs = [
        Job(run_trial, trial, folder, stamp or _stamp(folder), args.device, resumed=True, ranks=ranks)
        for folder, trial in left.items()
    ]
    return run_jobs(jobs, args.num_procs, workers, shown=args.verbosity != "quiet")


def _is_done(folder: Path, trial: Trial, lost_results: LostResults) -> bool:
    """Whether a trial is finished with all its results; ConfigError if no checkpoint gives back lost ones."""
    if (folder / STOPPED_FILE).exists():
        return True
    if not is_finished(folder):
        return False
    lost = lost_results(folder, trial)
    if lost is None:
        return True
    if not has_checkpoints(folder):
        raise ConfigError(f"--resume: {folder} is finished, but {lost}; there is no checkpoint to go back to")
    print(f"{folder} is finished, but {lost}; going back to a checkpoint", file=sys.stderr)
    (folder / FINISHED_FILE).unlink()
    return False


def trials_in(folder: Path) -> dict[Path, Trial]:
    """Trials of the folder of one trial, or of the folder of a run, those not yet begun included."""
    if (folder / TRIAL_FILE).is_file():
        return {folder: read_trial(folder)}
    if not (folder / CONFIG_FILE).is_file():
        below = sorted(path.parent for path in folder.rglob(CONFIG_FILE))
        hint = f"; did you mean {below[-1]}?" if below else ""
        raise ConfigError(
            f"--resume: {folder} holds neither {TRIAL_FILE} nor {CONFIG_FILE}; it is no run folder{hint}"
        )
    trials = {}
    for trial in read_config(folder / CONFIG_FILE).trials:
        each = folder / trial.name
        trials[each] = trial
        if (each / TRIAL_FILE).is_file():  # which does not tell what it is trained together with
            trials[each] = replace(read_trial(each), together=trial.together, leader=trial.leader)
    return trials


def _stamp(folder: Path) -> str:
    return folder.absolute().parent.name.removeprefix("training_")


def read_trial(folder: Path) -> Trial:
    """The trial that a folder's ``trial_config.json`` describes; ConfigError if it describes none."""
    path = folder / TRIAL_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("must hold one JSON object")
        trials = make_trials(without_stamp(values))
        if len(trials) > 1:
            raise ValueError("describes several trials; a trial has one value for each key")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return trials[0]


def _check_ranks(folder: Path, ranks: Ranks) -> None:
    """Refuse a trial whose environments and transitions are shared by another number of processes."""
    for count in ranks_of(folder / CHECKPOINTS) - {ranks.count}:
        raise ConfigError(
            f"--resume: {folder} is shared by {count} processes, here are {ranks.count}; "
            f"go on with {count}, each with the transitions that it has"
        )


def _check_pipeline(folder: Path) -> None:
    """Refuse a trial of the legacy pipeline, which leaves nothing to go on from and marks no end."""
    ours = any((folder / name).exists() for name in (LOCK_FILE, SURROUNDINGS)) or has_checkpoints(folder)
    if (folder / "eval_configs.json").exists() and not ours:
        raise ConfigError(
            f"--resume: {folder} is of the legacy pipeline, which keeps no checkpoints; "
            "train its config anew to have another run"
        )


def has_checkpoints(folder: Path) -> bool:
    """Whether a trial's folder has any."""
    return any((folder / CHECKPOINTS).glob("checkpoint-*"))


def _check_free(folder: Path) -> None:
    if not folder.is_dir():
        return
    try:
        with locked(folder):
            pass
    except FolderInUseError as error:
        raise ConfigError(f"--resume: {error}") from None
