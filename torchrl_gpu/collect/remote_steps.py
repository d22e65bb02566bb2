"""Vector steps that collectors on a Ray cluster make, while this process learns.

TorchRL has a `RayCollector`. It ends with the first worker that is lost, keeps no state to go on from, counts
no stage of a curriculum over all workers, and does not say which weights a step was made with; so these are
plain actors, each with a world of its own.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor

from agents.learners.base import Learner
from agents.settings import Section, key
from torchrl_gpu.collect.collector import Collector, Order, Piece, piece_of, read_weights
from torchrl_gpu.collect.step import Lap, Step
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.learn.schedule import Schedule

LOSSES = 5
"""Losses of a collector in a row after which the trial itself must be the cause."""

START = 600.0
"""Seconds that one may take at least to its first answer: it has to find room and to load torch."""


class CollectSettings(Section):
    """Who collects."""

    collectors: int = key(
        0,
        "processes of a Ray cluster that collect, each in `num_envs` environments of its own; "
        "0: the process that learns",
        throughput=True,
        ge=0,
        le=10_000,
    )
    weights_every: int = key(
        64,
        "updates after which collectors get the weights anew; they collect as many timesteps at a time",
        throughput=True,
        ge=1,
        le=10_000,
    )
    collector_timeout: float = key(
        600.0,
        "seconds after which a collector that does not answer is replaced",
        legacy=False,
        free=True,
        gt=0,
        le=1e9,
    )

    @model_validator(mode="after")
    def _any(self) -> "CollectSettings":
        if not self.collectors and (names := self.changed(["weights_every", "collector_timeout"])):
            raise ValueError(f"key {names[0]!r}: {getattr(self, names[0])} needs 'collectors', which is 0")
        return self


class RemoteWorlds:
    """What a trainer asks of its environments, where others have them; their state is that of the steps."""

    def __init__(self, num_envs: int, max_robots: int) -> None:
        self.batch_size = torch.Size((num_envs,))
        self.max_robots = max_robots
        self.device = torch.device("cpu")
        self.world = self

    def check(self) -> None:
        """Nothing: collectors look at every action, and what they raise is raised here."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: the state of the worlds is in that of `RemoteSteps`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""


@dataclass(eq=False)
class _Worker:
    """A collector as the learner knows it."""

    number: int
    actor: Any
    version: int | None = None  # of its weights
    answer: Any = None  # under way
    piece: Piece | None = None  # an answer taken, not yet used
    losses: int = 0  # since its last answer
    started: bool = False  # whether it has answered

    def renew(self, actor: Any) -> None:
        """Let another one take its place."""
        self.actor, self.version, self.answer, self.piece = actor, None, None, None
        self.losses, self.started = self.losses + 1, False


class RemoteSteps:
    """The steps of all collectors, piece after piece, always from one after the other.

    While the learner learns from a piece, each collector makes its next one, with the weights that there were
    when it was asked; so what is learned depends on the seed alone, not on who is quicker, as long as none is
    lost. The timesteps of a piece are those at which it will be used: they decide about exploration and
    curriculum. A collector that is lost, or silent, is replaced by one whose environments begin anew, and
    has its turn again when that has its first piece ready; meanwhile the others go on.

    Args:
        ray: The module, connected to a cluster.
        build: Makes the steps of a collector with a number, from a seed's number: that of the collector
            at first, and one that was not there before for each that replaces another.
        seed_of: The seed of such a number.
        settings: How many, and how often they get weights.
        schedule: Exploration, and the end.
        num_envs: Environments of each.
        learner: Learns; its acting network is what acts.
        num_cpus: Cores that each takes of the cluster.
        lap: Ends the part ``"collect"``: waiting for a piece.
        warn: Told of what is lost.
    """

    def __init__(
        self,
        ray: ModuleType,
        build: Callable[[int, int], TensorSteps],
        seed_of: Callable[[int], int],
        settings: CollectSettings,
        schedule: Schedule,
        num_envs: int,
        learner: Learner,
        num_cpus: float = 1.0,
        lap: Lap = lambda part: None,
        warn: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self.ray, self.build, self.seed_of = ray, build, seed_of
        self.settings, self.schedule, self.num_envs = settings, schedule, num_envs
        self.learner, self.lap, self.warn = learner, lap, warn
        self.steps_at_once = max(1, settings.weights_every * schedule.update_every // num_envs)
        self._actor = ray.remote(num_cpus=num_cpus, max_restarts=0)(Collector)
        self._workers: list[_Worker] = []
        self._queue: deque[_Worker] = deque()  # asked, in the order of their turns
        self._starting: list[_Worker] = []  # asked, and new in place of a lost one
        self._begun = 0  # collectors so far, with those that replaced others
        self._taken = 0  # timesteps of the pieces taken
        self._weights: Tensor | None = None  # given out last
        self._version = 0  # of them
        self._sent: Any = None  # their place in the cluster
        self._now: tuple[int, Piece] | None = None  # number of a collector, and its piece, in use
        self._used = 0  # steps of it
        self._steps: Iterator[Step] = iter(())
        self._stale = [0.0, 0.0]  # sum over steps since the last reading, and their number

    def __call__(self) -> Step:
        """The next vector step of the run."""
        if not self._workers:
            self._begin()
        if (step := next(self._steps, None)) is None:
            self._use(*self._next_piece())
            step = next(self._steps)
        self._used += 1
        self._stale[0] += self.learner.updates - self._now[1].version
        self._stale[1] += 1
        self.lap("collect")
        return step

    def scalars(self) -> dict[str, float]:
        """Updates that acting lay behind, on average since the last call, and collectors that work."""
        total, number = self._stale
        self._stale = [0.0, 0.0]
        working = len(self._workers) - len(self._starting)
        return {"collect/staleness": total / max(number, 1), "collect/collectors": float(working)}

    # ---- asking and taking

    def _begin(self) -> None:
        numbers = range(self.settings.collectors)
        self._workers = [_Worker(number, self._new_actor(number, self._new_seed())) for number in numbers]
        for worker in self._workers:
            self._ask(worker, self._queue)

    def _new_seed(self) -> int:
        """Number of a seed that no collector has had."""
        self._begun += 1
        return self._begun - 1

    def _new_actor(self, number: int, seed: int) -> Any:
        return self._actor.remote(_Build(self.build, number, seed), self.seed_of(seed))

    def _ask(self, worker: _Worker, waiting: Any) -> None:
        """Ask for the piece behind all that are under way, unless the run ends before it."""
        size = self.steps_at_once * self.num_envs
        first = self._taken + size * (len(self._queue) + len(self._starting))
        last = self.schedule.total_timesteps
        if first > last:
            return
        timesteps = range(first, min(first + size, last + 1), self.num_envs)
        self._publish()
        weights = None if worker.version == self._version else self._sent
        worker.version = self._version
        order = Order(first, tuple(map(self.schedule.epsilon, timesteps)), self._version)
        worker.answer = worker.actor.collect.remote(order, weights)
        waiting.append(worker)

    def _publish(self) -> None:
        """Give out the present weights, if those given out are old."""
        updates = self.learner.updates
        if self._weights is None or updates - self._version >= self.settings.weights_every:
            self._weights, self._version = read_weights(self.learner.acting_network), updates
            self._sent = None
        if self._sent is None:
            self._sent = self.ray.put(self._weights.numpy())

    def _use(self, worker: _Worker, piece: Piece) -> None:
        self._now, self._used, self._steps = (worker.number, piece), 0, piece.steps(worker.number)

    def _next_piece(self) -> tuple[_Worker, Piece]:
        """The piece of whoever's turn it is, who is asked for the next one."""
        while True:
            self._let_join(wait=not self._queue)
            if not self._queue:
                self._ask_again()
                continue
            worker = self._queue[0]
            piece = self._answer_of(worker)
            if piece is None:
                continue
            self._queue.popleft()
            worker.piece = None
            self._taken += len(piece.columns["rows"]) * self.num_envs
            self._ask(worker, self._queue)
            return worker, piece

    def _ask_again(self) -> None:
        """Ask for what is missing at the end, if a piece was lost after the last one had been asked for."""
        if not self._starting:
            self._ask(self._workers[0], self._queue)
            if not self._queue:
                raise IndexError("the run has come to its end")

    def _let_join(self, wait: bool) -> None:
        """Give those a turn that have replaced others and are ready; if there is no one else wait for one."""
        if not self._starting:
            return
        answers = {worker.answer: worker for worker in self._starting}
        timeout = self.settings.collector_timeout if wait else 0
        for answer in self.ray.wait(list(answers), timeout=timeout)[0]:
            worker = answers[answer]
            self._starting.remove(worker)
            self._queue.append(worker)

    def _answer_of(self, worker: _Worker) -> Piece | None:
        """The piece that a worker was asked for; None if it is lost, and has been replaced."""
        if worker.piece is None:
            answer = self._get(worker, worker.answer)
            if answer is None:
                return None
            worker.piece, worker.answer, worker.losses = piece_of(answer), None, 0
        return worker.piece

    def _get(self, worker: _Worker, answer: Any) -> Any:
        errors = self.ray.exceptions
        patience = self.settings.collector_timeout
        if not worker.started:
            patience = max(patience, START)
        if not self.ray.wait([answer], timeout=patience)[0]:
            self._replace(worker, f"no answer for {patience:g} s")
            return None
        worker.started = True
        try:
            return self.ray.get(answer)
        except errors.RayTaskError:
            raise  # what it met is met here
        except (errors.LocalRayletDiedError, errors.RaySystemError) as error:
            raise RuntimeError(f"the cluster was lost: {type(error).__name__}") from None
        except errors.RayError as error:
            self._replace(worker, type(error).__name__)
            return None

    def _replace(self, worker: _Worker, why: str) -> None:
        """Let another take the place of a worker that is lost."""
        self.ray.kill(worker.actor)  # if it only hangs
        if worker in self._queue:
            self._queue.remove(worker)
        worker.renew(self._new_actor(worker.number, self._new_seed()))
        if worker.losses == LOSSES:
            raise RuntimeError(f"collector {worker.number} was lost {LOSSES} times without an answer: {why}")
        self.warn(f"collector {worker.number} was lost ({why}); the others go on until another is there")
        self._ask(worker, self._starting)

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on as if nothing had happened; waits for the pieces under way.

        Of a collector that is being replaced there is nothing to keep: its environments begin anew.
        """
        if not self._workers:
            return {}
        waiting = [worker for worker in tuple(self._queue) if self._answer_of(worker) is not None]
        idle = [worker for worker in self._workers if worker not in (*self._queue, *self._starting)]
        states = {worker.number: self._state_of(worker) for worker in (*waiting, *idle)}
        return {
            "begun": self._begun,
            "taken": self._taken,
            "weights": self._weights,
            "version": self._version,
            "now": None if self._now is None else [self._now[0], list(self._now[1]), self._used],
            "stale": list(self._stale),
            "queue": [[worker.number, list(worker.piece)] for worker in waiting if worker in self._queue],
            "collectors": [states.get(worker.number) for worker in self._workers],
        }

    def _state_of(self, worker: _Worker) -> dict[str, Any] | None:
        return self._get(worker, worker.actor.state_dict.remote())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`, with new collectors."""
        for worker in self._workers:
            self.ray.kill(worker.actor)
        self._workers, self._starting = [], []
        self._queue.clear()
        if not state:
            return
        self._begun, self._taken, self._stale = state["begun"], state["taken"], list(state["stale"])
        self._weights, self._version, self._sent = state["weights"], state["version"], None
        if state["now"] is not None:
            number, piece, used = state["now"]
            self._now, self._used = (number, Piece(*piece)), used
            self._steps = iter(list(self._now[1].steps(number))[used:])
        for number, kept in enumerate(state["collectors"]):
            seed = self._new_seed() if kept is None else number  # its draws go on
            worker = _Worker(number, self._new_actor(number, seed))
            self._workers.append(worker)
            if kept is not None:
                worker.actor.load_state_dict.remote(kept)
        for number, piece in state["queue"]:
            self._workers[number].piece = Piece(*piece)
            self._queue.append(self._workers[number])
        for worker, kept in zip(self._workers, state["collectors"], strict=True):
            if kept is None:
                self._ask(worker, self._starting)


@dataclass(frozen=True)
class _Build:
    """Makes the steps of a collector where it runs."""

    build: Callable[[int, int], TensorSteps]
    number: int
    seed: int

    def __call__(self) -> TensorSteps:
        return self.build(self.number, self.seed)
