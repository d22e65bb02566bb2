"""The TorchRL training loop: collect, store, learn, evaluate, on the legacy schedule."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from agents.agent import Agent
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.compilation import told
from torchrl_gpu.collect.plain_steps import PlainSteps
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.remote_steps import RemoteSteps, RemoteWorlds
from torchrl_gpu.collect.step import Step
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.evaluation.film import Film
from torchrl_gpu.evaluation.metrics import EpisodeResult, Metrics
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.learn.average import AveragedWeights
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.seeding import Generators
from torchrl_gpu.watch.progress import Progress

Advance = Generator[Draw, dict[str, Tensor], None]
"""A vector step under way: gives the batch of each update that is due, and takes the losses of it."""


def next_draw(advance: Advance, losses: dict[str, Tensor] | None) -> Draw | None:
    """Let a vector step go on with the losses of its last update, None at first; None when it is over."""
    try:
        return advance.send(losses)
    except StopIteration:
        return None
    except RuntimeError as error:
        if isinstance(error.__cause__, StopIteration):  # raised by who is told of evaluations
            raise error.__cause__ from None
        raise


class DivergedError(RuntimeError):
    """Weights are no finite numbers any more: there is nothing to go on from, or to evaluate."""


class StepListener(Protocol):
    """Whoever looks at each vector step: progress, episode reports."""

    def __call__(self, step: Step, timestep: int) -> None:
        """Look at one vector step, whose first timestep is ``timestep``."""


class TorchRLTrainer:
    """Trains an agent for ``total_timesteps + 1`` timesteps (Defect T3), whatever the number of environments.

    A timestep is one step of one environment; a step of all E environments covers the timesteps
    ``t .. t + E - 1``. Exploration, updates, target copies and evaluations fall on the same timesteps for
    every E; where several fall into one vector step they happen in the order of their timesteps. With E = 1
    and the sequential policy this is the legacy loop, draw for draw (training spec 4).

    Args:
        env: Training environment.
        policy: Acts in it; its ``eps`` follows the schedule.
        steps: Makes the vector steps, with that policy in that environment.
        replay: Keeps the transitions.
        agent: Learns from them.
        schedule: When what happens.
        evaluate: Plays the evaluation episodes.
        progress: Follows the run.
        update: One gradient update on a batch.
        average: Average of the weights over the updates, which is then what is evaluated and saved.
        raw_networks: Context in which the local networks take raw observations, to be evaluated and saved.
        keep_best: Also keep, in the folder ``best``, the model of the best evaluation so far.
        film: Films an episode after every so many evaluations, from the first on; None for never.
        listeners: Look at every vector step, besides the progress.
        ranks: The processes that train this agent together. Each has environments and transitions of its own;
            gradients are averaged, and the first one evaluates and saves.

    Attributes:
        timestep: First timestep of the next vector step.
        updates: Gradient updates made.
        record: All evaluations so far.
        on_evaluation: Told of each evaluation, its timestep and its metrics.
        unsaved: Why the results of the last evaluation could not be written; None if they were.
        timings: Seconds that the loop spends on ``act``, ``step``, ``store``, ``sample``, ``update`` and
            ``evaluate``, and on what is ``other``; with collectors on ``collect`` in place of the first two.
    """

    def __init__(
        self,
        *,
        env: MarineNavTorchRLEnv | RemoteWorlds,
        policy: PolicyWrapper,
        steps: TensorSteps | PlainSteps | RemoteSteps,
        replay: Replay,
        agent: Agent,
        schedule: Schedule,
        evaluate: Callable[[], list[EpisodeResult]],
        progress: Progress,
        update: Callable[[Draw], dict[str, Tensor]],
        average: AveragedWeights | None = None,
        raw_networks: Callable[[], AbstractContextManager] = nullcontext,
        keep_best: bool = False,
        film: Film | None = None,
        listeners: tuple[StepListener, ...] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        self.env = env
        self.policy = policy
        self.steps = steps
        self.replay = replay
        self.agent = agent
        self.schedule = schedule
        self.evaluate = evaluate
        self.progress = progress
        self.update = update
        self.average = average
        self.raw_networks = raw_networks
        self.keep_best = keep_best
        self.film = film
        self.listeners = (progress, *listeners)
        self.ranks = ranks
        self.timestep = 0
        self.updates = 0
        self.record = EvaluationRecord()
        self.on_evaluation: Callable[[int, Metrics], None] = lambda timestep, metrics: None
        self.unsaved: str | None = None
        self.timings = progress.timings
        self._enough = False  # transitions for a batch, on every rank

    @property
    def num_envs(self) -> int:
        """Timesteps of one vector step, of all ranks together."""
        return self.env.batch_size[0] * self.ranks.count

    @property
    def done(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.timestep > self.schedule.total_timesteps

    def learn(self, directory: str | Path, between_steps: Callable[[], None] = lambda: None) -> None:
        """Run the schedule to its end, from wherever it stands.

        Args:
            directory: Existing folder for ``evaluations.npz`` and the latest model, rewritten at each
                evaluation.
            between_steps: Called after every vector step, when everything due has been done.

        Raises:
            OSError: The results of the last evaluation could not be written, though the run went on.
            DivergedError: Weights are no finite numbers any more; results, model and checkpoints stay those
                of before.
        """
        with self.learning():
            while not self.done:
                self._advance(Path(directory))
                between_steps()
                self.timings.lap("other")

    @contextmanager
    def learning(self) -> Iterator[None]:
        """What `learn` does before the first vector step and after the last."""
        self.progress.start(self.timestep)
        self.timings.restart()
        try:
            with told(self.progress.note):
                yield
        except (ArithmeticError, IndexError, RuntimeError, ValueError):
            self.check_weights()  # what they give may be refused anywhere
            raise
        finally:
            self.progress.close()
        if self.unsaved:
            raise OSError(f"the results could not be written: {self.unsaved}")

    def advance(self, directory: Path) -> Advance:
        """Make a vector step and do what is due in it, but for the updates, which are made by who asks."""
        self.policy.explore_at(self.schedule.epsilon(self.timestep))
        step = self.steps()
        self.replay.store(step)
        self.timings.lap("store")
        for listener in self.listeners:
            listener(step, self.timestep)
        self.timings.lap("other")
        yield from self._follow_schedule(directory)
        self.timestep += self.num_envs

    def check_weights(self) -> None:
        """Raise DivergedError if weights are no finite numbers any more."""
        if not (broken := self.agent.learner.broken()):
            return
        kept = f"the model of timestep {self.record.timesteps[-1]}" if len(self.record) else "no model yet"
        keys = self.agent.learner.settings
        whose = f"{self.progress.name}: " if self.progress.name else ""
        raise DivergedError(
            f"{whose}weights of {' and '.join(broken)} are no finite numbers any more "
            f"at timestep {self.timestep}, after {self.updates} updates "
            f"with learning_rate {keys.learning_rate:g} and max_grad_norm {keys.max_grad_norm:g}; "
            f"the folder holds {kept}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, all but the evaluations; of tensors no copies."""
        counters = {"timestep": self.timestep, "updates": self.updates}
        return counters | {name: owner.state_dict() for name, owner in self._owners().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of a trainer of the same construction."""
        for name, owner in self._owners().items():
            owner.load_state_dict(state[name])
        self.timestep, self.updates = state["timestep"], state["updates"]
        self._enough = False

    def _owners(self) -> dict[str, Any]:
        """All that keeps a part of the run's state; generators last, as others may draw while they load."""
        owners = {"learner": self.agent.learner}
        if self.average:
            owners["average"] = self.average.model
        return owners | {
            "env": self.env.world,
            "replay": self.replay,
            "progress": self.progress,
            "steps": self.steps,
            "generators": Generators(self.agent.device),
        }

    def _advance(self, directory: Path) -> None:
        """Make a vector step alone."""
        advance, losses = self.advance(directory), None
        while (draw := next_draw(advance, losses)) is not None:
            losses = self.update(draw)

    def _follow_schedule(self, directory: Path) -> Advance:
        stop = min(self.timestep + self.num_envs, self.schedule.total_timesteps + 1)
        spans = list(self.schedule.spans(self.timestep, stop))
        batches = self._batches(sum(updates for _, updates in spans))
        for last, updates in spans:
            if updates:
                yield from self._learn(last, islice(batches, updates))
            if self.schedule.target_copy_due(last):
                self.agent.soft_update()
            if self.schedule.evaluation_due(last):
                self._evaluate_and_save(last, directory)

    def _evaluate_and_save(self, timestep: int, directory: Path) -> None:
        self.check_weights()  # the host waits here anyway
        self.env.world.check()
        if not self.ranks.first:
            return
        with self.average.in_place() if self.average else nullcontext(), self.raw_networks():
            results = self.evaluate()
            self.timings.lap("evaluate")
            self.record.append(timestep, results)
            self._save(directory)
            if self.film and (len(self.record) - 1) % self.film.every == 0:
                self.progress.filmed(timestep, self.film())
        self.progress.evaluated(timestep, results)
        self.on_evaluation(timestep, self.record.metrics(-1))
        self.timings.lap("other")

    def _save(self, directory: Path) -> None:
        """Write evaluations and model; where the disk is full the run goes on, and the next ones may fit."""
        try:
            self.record.save(directory)
            self.agent.save_latest_model(directory)
            if self.keep_best and self.record.best == len(self.record) - 1:
                (directory / "best").mkdir(exist_ok=True)
                self.agent.save_latest_model(directory / "best")
            self.unsaved = None
        except torch.OutOfMemoryError:
            raise
        except (OSError, RuntimeError) as error:  # torch says RuntimeError where the system refuses
            self.unsaved = " ".join(str(error).split())
            timestep = self.record.timesteps[-1]
            self.progress.warn(f"timestep {timestep}: results not written, the run goes on: {self.unsaved}")

    def _batches(self, updates: int) -> Iterator[Draw]:
        """Batches of all updates of a vector step, drawn together, which takes as long as to draw one."""
        if updates == 0 or not self._can_draw():
            return iter(())
        return iter(self.replay.sample(updates))

    def _can_draw(self) -> bool:
        """Whether every rank holds more than a batch; a rank that went ahead would wait for the others."""
        if not self._enough:
            self._enough = self.ranks.all(self.replay.stored > self.replay.batch_size)
        return self._enough

    def _learn(self, timestep: int, batches: Iterable[Draw]) -> Advance:
        """One update for each batch, with the step size of the timestep."""
        learner = self.agent.learner
        learner.learning_rate = self.schedule.learning_rate_at(timestep, learner.settings.learning_rate)
        updates = 0
        for batch in batches:
            self.timings.lap("sample")
            losses = yield batch
            if self.average:
                self.average.update()
            self.timings.lap("update")
            self.replay.feed_back(batch, losses)
            self.timings.lap("sample")
            updates += 1
        if updates:
            self.updates += updates
            self.progress.learned(losses, updates)
