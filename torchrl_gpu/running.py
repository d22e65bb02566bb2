"""Trials under way in this process: one, or those of several seeds in step."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch

from torchrl_gpu.evaluation.metrics import Metrics
from torchrl_gpu.experiment import build_trainer
from torchrl_gpu.learn.denormals import flushed_denormals
from torchrl_gpu.program import typed
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.runs import surroundings
from torchrl_gpu.runs.checkpoint import Checkpoints, restore
from torchrl_gpu.runs.cluster import cluster_of_collectors
from torchrl_gpu.runs.folder import CHECKPOINTS, locked, mark_finished
from torchrl_gpu.runs.interruption import Interrupted, StopRequests
from torchrl_gpu.runs.memory import explaining_shortage
from torchrl_gpu.seeding import OwnGenerators, kept_numpy
from torchrl_gpu.seeds_together import SeedsTogether
from torchrl_gpu.settings.trial import Trial
from torchrl_gpu.torchrl_trainer import TorchRLTrainer
from torchrl_gpu.watch.loggers import rewind
from torchrl_gpu.watch.progress import Verbosity

OnEvaluation = Callable[[int, Metrics], None]
"""Told of each evaluation: its timestep and its metrics. What it raises ends the training."""


def nobody(timestep: int, metrics: Metrics) -> None:
    """Whom evaluations are told unless somebody asks."""


def run_trials(
    trials: Mapping[Path, Trial],
    device: str,
    verbosity: str = "normal",
    on_evaluation: OnEvaluation = nobody,
    ranks: Ranks = ALONE,
) -> list[TorchRLTrainer]:
    """Train trials by their existing folders, from where their checkpoints say they stand.

    Several are those of one config that differ in their seeds alone, see `torchrl_gpu.seeds_together`; the
    other arguments are those of `api.run_trial`. Returns the trainers.
    """
    logging.getLogger("torchrl").setLevel(logging.WARNING)  # it announces every storage it allocates
    if torch.device(device).index is not None:
        torch.cuda.set_device(device)  # or libraries would start one on the first GPU as well
    trial = next(iter(trials.values()))
    with ExitStack() as stack:
        beats = [stack.enter_context(locked(folder)) for folder in trials]
        stack.enter_context(kept_numpy())
        stack.enter_context(cluster_of_collectors(trial))
        requests = stack.enter_context(StopRequests(silent=not ranks.first))
        stack.enter_context(explaining_shortage(trial))
        if not trial.reproduction:  # which has the legacy numbers, the tiny ones too
            stack.enter_context(flushed_denormals())
        runs = Runs(trials, device, verbosity, on_evaluation, ranks)
        runs.learn(requests, beats)
        if verbosity != "quiet" and ranks.first:
            runs.summarise()
    return runs.trainers


class Runs:
    """The trials of one loop, ready to learn from where their checkpoints say that they stand.

    For the arguments see `run_trials`.
    """

    def __init__(
        self,
        trials: Mapping[Path, Trial],
        device: str,
        verbosity: str,
        on_evaluation: OnEvaluation,
        ranks: Ranks,
    ) -> None:
        self.folders = list(trials)
        self.device = device
        self.ranks = ranks
        self.trainers: list[TorchRLTrainer] = []
        self.checkpoints: list[Checkpoints] = []
        self.generators: list[OwnGenerators] = []
        alone = len(trials) == 1
        for folder, trial in trials.items():
            trainer = build_trainer(trial, device, folder, Verbosity.named(verbosity), ranks)
            trainer.on_evaluation = on_evaluation
            place = folder / CHECKPOINTS
            self.trainers.append(trainer)
            self.checkpoints.append(
                Checkpoints(trainer, trial.checkpoints, trial.identity, folder, place, alone=alone)
            )
            self.generators.append(OwnGenerators(device))
        self.turns = [nullcontext if alone else each.in_place for each in self.generators]
        restore(self.checkpoints, self.turns)
        for folder, trainer in zip(self.folders, self.trainers, strict=True):
            rewind(folder, trainer.timestep, trainer.record)
            surroundings.note(folder, device)

    def learn(self, requests: StopRequests, beats: Sequence[Callable[[], None]]) -> None:
        """Run the schedule to its end; a request to stop is met between two steps, by Interrupted.

        ``beats`` are called after every step.
        """

        def between_steps() -> None:
            for beat in beats:
                beat()
            if self.ranks.any(bool(requests.received)):  # each hears a signal at another step
                raise Interrupted(self._how_to_go_on(self._save()))
            if self.checkpoints[0].due:
                self._save()

        finished = False
        try:
            if len(self.trainers) == 1:
                self.trainers[0].learn(self.folders[0], between_steps)
            else:
                SeedsTogether(self.trainers, self.folders, self.generators).learn(between_steps)
            finished = True
        except Interrupted:
            raise
        except KeyboardInterrupt:
            note = self._how_to_go_on(saved=False)
            raise Interrupted(f"stopped at once, without a checkpoint; {note}") from None
        finally:
            for trainer in self.trainers:
                trainer.progress.log.close(finished)
        for folder, trainer in zip(self.folders, self.trainers, strict=True):
            mark_finished(folder, trainer.timestep, trainer.updates)

    def summarise(self) -> None:
        """Print how each has ended."""
        for folder, trainer in zip(self.folders, self.trainers, strict=True):
            print(trainer.record.summary(folder))

    def _save(self) -> bool:
        """Save all; True if there is a checkpoint of this timestep of each now."""
        saved = []
        for checkpoints, turn in zip(self.checkpoints, self.turns, strict=True):
            with turn():
                saved.append(checkpoints.save())
        return all(saved)

    def _how_to_go_on(self, saved: bool) -> str:
        """What an interrupted run says; ``saved`` tells whether its last checkpoint is of this moment."""
        last = min((each.last for each in self.checkpoints if each.last is not None), default=None)
        start = f"from timestep {last}" if last is not None else "from the beginning"
        if not saved and last is not None:
            start += ", the last checkpoint"
        module = "train_torchrl_gpu.py" in sys.argv[0]
        program = "python -m torchrl_gpu.train_torchrl_gpu" if module else typed("train")
        device, ranks = self.device, self.ranks
        if ranks.count > 1:
            program = f"torchrun --nproc-per-node {ranks.local_count} -m torchrl_gpu.train_torchrl_gpu"
            device = torch.device(device).type
        folder = self.folders[0] if len(self.folders) == 1 else self.folders[0].parent
        return f"to go on {start}: {program} --resume {folder} -D {device}"
