"""When a run explores, learns, copies its target and evaluates: pure functions of the timestep.

A timestep is one step of one environment, all its robots included (training spec 4). Both pipelines ask these
functions, so that one environment and thousands follow the same schedule.
"""

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from agents.settings import Section, key

LONGEST = 10**12
"""Timesteps that no run reaches: a larger number is a slip of the keyboard."""
Timesteps = Annotated[int, Field(ge=1, le=LONGEST)]


class Schedule(Section):
    """The cadence of one run, with the legacy defaults (training spec 3 and 4).

    Defect T3: a run makes ``total_timesteps + 1`` timesteps.
    """

    total_timesteps: Timesteps = key(..., "index of the last timestep; a timestep is one environment step")
    eval_freq: Timesteps = key(..., "timesteps between two evaluations")
    learning_starts: int = key(
        2000, "first timestep that may learn, copy the target and evaluate", ge=0, le=LONGEST
    )
    update_every: Timesteps = key(4, "timesteps between two gradient updates, whatever the number of robots")
    target_update_interval: Timesteps = key(10_000, "timesteps between two target copies")
    exploration_fraction: float = key(0.25, "part of the run over which epsilon falls", ge=0, le=1)
    initial_eps: float = key(0.6, "epsilon at timestep 0", ge=0, le=1)
    final_eps: float = key(0.05, "epsilon after `exploration_fraction` of the run", ge=0, le=1)
    final_learning_rate: float | None = key(
        None,
        "Adam's step size at the end, reached along half a cosine; absent: it stays",
        throughput=True,
        ge=0,
        le=1,
    )

    @property
    def first_update(self) -> int:
        """First timestep at which an update is due."""
        return -(-self.learning_starts // self.update_every) * self.update_every

    def epsilon(self, t: int) -> float:
        """Exploration rate at timestep ``t``: linear from ``initial_eps`` to ``final_eps``, then constant."""
        progress = t / self.total_timesteps
        if progress >= self.exploration_fraction:
            return self.final_eps
        return self.initial_eps + progress / self.exploration_fraction * (self.final_eps - self.initial_eps)

    def learning_rate_at(self, t: int, initial: float) -> float:
        """Adam's step size: half a cosine (Loshchilov & Hutter 2017, equation 5, without restarts)."""
        if self.final_learning_rate is None:
            return initial
        share = (1 + math.cos(math.pi * min(t / self.total_timesteps, 1))) / 2
        return self.final_learning_rate + (initial - self.final_learning_rate) * share

    def update_due(self, t: int) -> bool:
        """Whether timestep ``t`` makes a gradient update (the memory must also hold more than a batch)."""
        return t >= self.learning_starts and t % self.update_every == 0

    def target_copy_due(self, t: int) -> bool:
        """Whether timestep ``t`` copies the local networks into the target, after its update."""
        return t >= self.learning_starts and t % self.target_update_interval == 0

    def evaluation_due(self, t: int) -> bool:
        """Whether timestep ``t`` evaluates, after its update and copy; the learning start always does."""
        return t == self.learning_starts or (t > self.learning_starts and t % self.eval_freq == 0)

    def evaluations(self, start: int = 0) -> list[int]:
        """The timesteps from ``start`` on that evaluate."""
        first = max(start, self.learning_starts + 1)
        rest = range(first + -first % self.eval_freq, self.total_timesteps + 1, self.eval_freq)
        return [self.learning_starts] * (start <= self.learning_starts <= self.total_timesteps) + [*rest]

    @property
    def last_evaluation(self) -> int | None:
        """The last timestep that evaluates; None of a run that ends before it learns."""
        if self.total_timesteps < self.learning_starts:
            return None
        return max(self.learning_starts, self.total_timesteps // self.eval_freq * self.eval_freq)

    def updates(self, start: int, stop: int) -> int:
        """Number of gradient updates due in the timesteps ``start <= t < stop``."""
        start = max(start, self.learning_starts)
        return max(0, (stop - 1) // self.update_every - (start - 1) // self.update_every)

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Split the timesteps ``start <= t < stop`` after each one that copies the target or evaluates.

        Yields the last timestep of each span and the number of updates due in it. A vector step covers many
        timesteps; walking its spans does everything in the order of the timesteps.
        """
        if stop - start == 1:  # every step of a single environment comes by here
            yield start, int(self.update_due(start))
            return
        due = {stop - 1}
        for interval in (self.target_update_interval, self.eval_freq):
            first = max(start, self.learning_starts)
            due.update(range(first + -first % interval, stop, interval))
        if start <= self.learning_starts < stop:
            due.add(self.learning_starts)
        for last in sorted(due):
            yield last, self.updates(start, last + 1)
            start = last + 1
