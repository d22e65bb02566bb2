"""Several seeds of one trial side by side in one process: ``"seeds_together"``.

Each seed has what it has alone: worlds, replay, generators, evaluations, checkpoints. Their trainers go
through the same schedule in step, and wherever an update is due it is one of all of them, see
`torchrl_gpu.learn.stack`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor

from agents.settings import Section, key
from torchrl_gpu.learn.stack import Stack, of_each, stacked
from torchrl_gpu.learn.update import Update
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.seeding import OwnGenerators
from torchrl_gpu.torchrl_trainer import Advance, TorchRLTrainer, next_draw


class TogetherSettings(Section):
    """How many seeds are trained in one process."""

    seeds_together: int = key(
        1,
        "seeds, from `seed` on, trained side by side in one process, each as a trial of its own: "
        "an update is one of all of them, which small networks and a GPU have room for",
        legacy=False,
        free=True,
        ge=1,
        le=1000,
    )


class SeedsTogether:
    """Trainers of trials that differ in nothing but their seed, as one loop.

    Args:
        trainers: one for each seed, at the same timestep. Their learners become parts of a stack.
        folders: where each writes its results.
        generators: what each draws from.
    """

    def __init__(
        self,
        trainers: Sequence[TorchRLTrainer],
        folders: Sequence[Path],
        generators: Sequence[OwnGenerators],
    ) -> None:
        self.trainers = trainers
        self.folders = folders
        self.generators = generators
        stack = Stack([each.agent.learner for each in trainers], [each.of_torch for each in generators])
        alone = trainers[0].update
        self.update = Update(stack, alone.way, alone.autocast)

    def learn(self, between_steps: Callable[[], None] = lambda: None) -> None:
        """Run the schedule to its end; as `TorchRLTrainer.learn`, with one step of each between two calls."""
        with ExitStack() as all_learn:
            for trainer in self.trainers:
                all_learn.enter_context(trainer.learning())
            while not self.trainers[0].done:
                self._advance()
                between_steps()

    def _advance(self) -> None:
        """Make a vector step of each."""
        steps = [each.advance(folder) for each, folder in zip(self.trainers, self.folders, strict=True)]
        draws = self._go_on(steps, [None] * len(steps), begin=True)
        while draws:
            draws = self._go_on(steps, self._learn(draws))

    def _go_on(
        self, steps: Sequence[Advance], losses: Sequence[dict[str, Tensor] | None], begin: bool = False
    ) -> list[Draw]:
        """Let each go on to its next update, in its turn; no draws when their steps are over."""
        draws = []
        for trainer, own, step, told in zip(self.trainers, self.generators, steps, losses, strict=True):
            # Between two updates of a step nobody draws from Python's generator or NumPy's.
            with own.in_place() if begin else own.of_torch():
                trainer.timings.restart()  # what the others did is not this one's
                if (draw := next_draw(step, told)) is not None:
                    draws.append(draw)
                else:
                    trainer.timings.lap("other")
        if draws and len(draws) < len(steps):
            at = f"at timestep {self.trainers[0].timestep}"
            raise RuntimeError(f"{len(draws)} of {len(steps)} seeds have a batch {at}, which must be all")
        return draws

    def _learn(self, draws: Sequence[Draw]) -> list[dict[str, Tensor]]:
        """The update of all; its time is that of each."""
        for trainer in self.trainers:
            trainer.timings.restart()
        losses = self.update(stacked(draws))
        for trainer in self.trainers:
            trainer.timings.lap("update")
        return of_each(losses, len(draws))
