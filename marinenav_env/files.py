"""Files that are either whole or not there: written to a temporary name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file aside ``path`` and rename it over ``path`` once the block ends; an error leaves no trace.

    The folder must exist; `mode` is ``"wb"``, or ``"w"`` for UTF-8 text.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno and error.filename in (None, str(aside)):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        with suppress(OSError):  # nothing there, or a read-only disk
            aside.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, in UTF-8, whole or not at all; see `replacing`."""
    with replacing(path, "w") as file:
        file.write(text)
