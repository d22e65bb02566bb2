"""Output that nobody may read any more: a closed pipe or a full disk behind it never ends a run."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Lasting:
    """A text stream that falls silent once it cannot be written to."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, if that is still possible."""
        try:
            return self.stream.write(text)
        except OSError:
            self._fall_silent()
            return len(text)

    def flush(self) -> None:
        """Flush, if that is still possible."""
        try:
            self.stream.flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        """Point the stream's file to nowhere, where what it still holds can go as well."""
        with suppress(OSError):  # one without a file fails again, and again to no harm
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Within the block, or the function decorated, standard output and error may be lost without harm."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (each and Lasting(each) for each in streams)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # as it is where the file was closed before we began
                stream.flush()
        sys.stdout, sys.stderr = streams
