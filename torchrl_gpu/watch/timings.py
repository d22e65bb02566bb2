"""Where the time of a training loop goes, measured by the loop itself."""

import time
from collections import deque

import torch

PENDING = 512
"""Marks on a GPU after which those that it has passed are counted."""


class Timings:
    """Seconds of the parts of a loop, each ended by a `lap`.

    On a GPU a lap puts a mark among the work handed to it, and the time between two marks counts: the host
    does not wait, and a part is charged with what the GPU does for it. Only `read` waits. A benchmark on a
    shared machine with a CPU may take `time.process_time` for the clock.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.clock = time.perf_counter
        self._on_gpu = torch.device(device).type == "cuda"
        self._seconds: dict[str, float] = {}
        self._marks: deque[tuple[str, torch.cuda.Event]] = deque()
        self._spare: list[torch.cuda.Event] = []
        self._since = self.clock()

    def lap(self, part: str) -> None:
        """Give the time since the last lap to ``part``."""
        if self._on_gpu:
            self._mark(part)
            return
        now = self.clock()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._since
        self._since = now

    def restart(self) -> None:
        """Give the time since the last lap to nothing."""
        self.lap("")

    def read(self) -> dict[str, float]:
        """Seconds of each part since the beginning; waits for the device."""
        if self._marks:
            self._marks[-1][1].synchronize()
            self._count_passed()
        return {part: seconds for part, seconds in self._seconds.items() if part}

    def _mark(self, part: str) -> None:
        if len(self._marks) >= PENDING:
            self._count_passed()
        event = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((part, event))

    def _count_passed(self) -> None:
        """Count the time up to the last mark that the GPU has passed; the mark stays, as the next start."""
        while len(self._marks) > 1 and self._marks[1][1].query():
            _, start = self._marks.popleft()
            part, end = self._marks[0]
            self._seconds[part] = self._seconds.get(part, 0.0) + start.elapsed_time(end) / 1000
            self._spare.append(start)
