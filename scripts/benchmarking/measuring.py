"""What is counted, and over which time: the definitions of the benchmark, free of any pipeline."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

SECTIONS = ("act", "step", "store", "sample", "update", "other")
"""Where a training loop's time goes; "other" is whatever the sections before do not cover."""


class Counts(NamedTuple):
    """Work done by a pipeline since it was built.

    Attributes:
        timesteps: Steps of one environment, all its robots included; a vector step of E environments is E.
        transitions: Steps of one robot that was in the water: what a replay memory gets. Robots that have
            collided or arrived, and absent ones, do not count.
        updates: Gradient updates; one trains all networks of an algorithm.
    """

    timesteps: int
    transitions: int
    updates: int

    def since(self, earlier: "Counts") -> "Counts":
        """Work done after `earlier`."""
        return Counts(*(now - then for now, then in zip(self, earlier, strict=True)))


@dataclass(frozen=True)
class Clock:
    """Wall and CPU time (s), each read after all work handed to the device is done.

    Attributes:
        synchronize: Waits for the device.
        wall: Seconds that passed.
        cpu: Seconds of CPU of this process, all threads; on a machine that others use too, the fairer one.
        of_sections: The one of the two that sections are timed by.
    """

    synchronize: Callable[[], None] = lambda: None
    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    of_sections: Callable[[], float] = time.process_time

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds now."""
        self.synchronize()
        return self.wall(), self.cpu()


@dataclass
class Stopwatch:
    """Seconds spent in named sections; time of a section within another counts for the inner one only.

    Attributes:
        clock: Read at both ends of every section while `running`.
        running: Off, sections cost next to nothing and the device is never waited for.
        seconds: Of each section.
    """

    clock: Clock
    running: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    def start(self, running: bool = True) -> None:
        """Forget what was timed; time from now on, or not."""
        self.seconds, self._open, self.running = {}, ["other"], running
        self._charge()
        self.seconds = {}

    def stop(self) -> None:
        """Time no more."""
        self._charge()
        self.running = False

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time the block."""
        if not self.running:
            yield
            return
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        """Give the time since the last charge to the innermost section."""
        if not self.running:
            return
        self.clock.synchronize()
        now = self.clock.of_sections()
        name = self._open[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Time every call of a method of one object, from outside."""
        function = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.section(name):
                return function(*args, **kwargs)

        setattr(owner, method, timed)

    def wrap_iteration(self, owner: Any, method: str, name: str) -> None:
        """Time a method that returns batches, and the making of each batch if they are made one by one."""
        function = getattr(owner, method)

        def timed(*args: Any) -> Iterable:
            with self.section(name):
                items = iter(function(*args))
            while True:
                with self.section(name):
                    item = next(items, self)
                if item is self:
                    return
                yield item

        setattr(owner, method, timed)


class Pipeline(Protocol):
    """A training pipeline that can be held between two timesteps.

    Attributes:
        stopwatch: Times its sections.
    """

    stopwatch: Stopwatch

    def counts(self) -> Counts:
        """Work done so far; may wait for the device."""

    def run(self, boundary: Callable[[], None]) -> None:
        """Train on, and call `boundary` at the same place of every cycle, until it raises."""


class Enough(Exception):  # noqa: N818 (it is no error)
    """Ends a pipeline's run at a boundary."""


@dataclass(frozen=True)
class Round:
    """What one round did and took.

    Attributes:
        counts: Work of whole cycles.
        wall: Seconds they took.
        cpu: CPU seconds they took.
        split: Seconds of each section; empty if not measured.
    """

    counts: Counts
    wall: float
    cpu: float
    split: dict[str, float]


def measure(pipeline: Pipeline, seconds: float, *, warm_up: int = 1, split: bool = False) -> Round:
    """Let a pipeline run whole cycles for at least `seconds`.

    Args:
        pipeline: Runs.
        seconds: Wall time at least; one cycle at least.
        warm_up: Cycles before the time counts.
        split: Time the sections too; on a GPU, that makes the host wait at each, so that the rates of such a
            round say little.
    """
    clock, stopwatch = pipeline.stopwatch.clock, pipeline.stopwatch
    cycles = 0
    ends: list[tuple[Counts, tuple[float, float]]] = []

    def boundary() -> None:
        nonlocal cycles
        cycles += 1
        if cycles <= warm_up:
            return
        if not ends:
            ends.append((pipeline.counts(), clock.read()))
            stopwatch.start(split)
        elif clock.wall() - ends[0][1][0] >= seconds:
            stopwatch.stop()
            ends.append((pipeline.counts(), clock.read()))
            raise Enough

    with suppress(Enough):
        pipeline.run(boundary)
    (start, (wall, cpu)), (end, (end_wall, end_cpu)) = ends
    return Round(end.since(start), end_wall - wall, end_cpu - cpu, dict(stopwatch.seconds))


def run_until(pipeline: Pipeline, reached: Callable[[Counts], bool]) -> None:
    """Let a pipeline run, unmeasured, until its counts satisfy a condition."""

    def boundary() -> None:
        if reached(pipeline.counts()):
            raise Enough

    with suppress(Enough):
        pipeline.run(boundary)
