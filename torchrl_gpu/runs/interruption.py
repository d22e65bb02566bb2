"""SIGINT and SIGTERM as requests that a run meets between two steps."""

import signal
import sys
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and did; the message says how to go on."""


class StopRequests:
    """Context in which a first SIGINT or SIGTERM is only noted; a second raises KeyboardInterrupt at once.

    Attributes:
        received: Name of the signal received, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> "StopRequests":
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        print(
            f"{self.received}: stopping after this step; again to stop at once", file=sys.stderr, flush=True
        )
