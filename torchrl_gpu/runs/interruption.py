"""Signals that end a process as requests that a run meets between two steps."""

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ONE_GESTURE = 1.0
"""Seconds within which further signals belong to the first: terminals, shells and schedulers send several."""


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and did; the message says how to go on."""


class StopRequests:
    """Context in which a first signal is only noted; a later one raises KeyboardInterrupt at once.

    Only the main thread gets signals: in another one it changes nothing. A hang-up that the process was
    started to ignore, as ``nohup`` does, stays ignored. Who is ``silent`` does not say what it has noted.
    """

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self.received: str | None = None  # name of the signal
        self._at = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._at = signal.Signals(number).name, now
            if self.silent:
                return
            line = f"{self.received}: stopping after this step; again to stop at once\n"
            # Not by print: the signal may have come while something prints, which cannot be entered twice.
            with suppress(OSError):
                os.write(2, line.encode())
        elif now - self._at > ONE_GESTURE:
            raise KeyboardInterrupt
