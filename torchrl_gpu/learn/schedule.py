"""When a run explores, learns, copies its target and evaluates: pure functions of the timestep.

A timestep is one step of one environment, all its robots included (training spec 4). Both pipelines ask these
functions, so that one environment and thousands follow the same schedule.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The cadence of one run, with the legacy defaults (training spec 3 and 4).

    Attributes:
        total_timesteps: Index of the last timestep; Defect T3: a run makes ``total_timesteps + 1`` of them.
        eval_freq: Timesteps between two evaluations.
        UPDATE_EVERY: Timesteps between two gradient updates, whatever the number of robots.
        learning_starts: First timestep at which the run may learn, copy its target and evaluate.
        target_update_interval: Timesteps between two target copies.
        exploration_fraction: Part of the run over which epsilon falls, in [0, 1].
        initial_eps: Epsilon at timestep 0.
        final_eps: Epsilon once ``exploration_fraction`` of the run is over.
        learning_rate: Adam's step size at timestep 0.
        final_learning_rate: That of the last timestep; `None`, as in the legacy schedule, keeps it constant.
    """

    total_timesteps: int
    eval_freq: int
    UPDATE_EVERY: int = 4
    learning_starts: int = 2000
    target_update_interval: int = 10_000
    exploration_fraction: float = 0.25
    initial_eps: float = 0.6
    final_eps: float = 0.05
    learning_rate: float = 1e-4
    final_learning_rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("total_timesteps", "eval_freq", "UPDATE_EVERY", "target_update_interval"):
            if getattr(self, name) < 1:  # Defect T20: a run of 0 timesteps divides by zero
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def epsilon(self, t: int) -> float:
        """Exploration rate at timestep ``t``: linear from ``initial_eps`` to ``final_eps``, then constant."""
        progress = t / self.total_timesteps
        if progress >= self.exploration_fraction:
            return self.final_eps
        return self.initial_eps + progress / self.exploration_fraction * (self.final_eps - self.initial_eps)

    def learning_rate_at(self, t: int) -> float:
        """Adam's step size at timestep ``t``: half a cosine from the first to the last of the run.

        Loshchilov & Hutter 2017, equation 5, without restarts.
        """
        if self.final_learning_rate is None:
            return self.learning_rate
        share = (1 + math.cos(math.pi * min(t / self.total_timesteps, 1))) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * share

    def update_due(self, t: int) -> bool:
        """Whether timestep ``t`` makes a gradient update (the memory must also hold more than a batch)."""
        return t >= self.learning_starts and t % self.UPDATE_EVERY == 0

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

    def updates(self, start: int, stop: int) -> int:
        """Number of gradient updates due in the timesteps ``start <= t < stop``."""
        start = max(start, self.learning_starts)
        return max(0, (stop - 1) // self.UPDATE_EVERY - (start - 1) // self.UPDATE_EVERY)

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Split the timesteps ``start <= t < stop`` after each one that copies the target or evaluates.

        A vector step covers many timesteps; walking its spans does everything in the order of the timesteps.

        Yields:
            The last timestep of a span, and the number of gradient updates due in the span.
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
