"""What trials elsewhere say: written into files beside their folders, and shown where the sweep runs."""

import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from torchrl_gpu.runs.job import Job

OUTPUT = "output"
"""Folder of a run that holds what its trials say, one file for each stream of a trial."""
UNSAID = 2**16
"""Bytes of what a trial says last that are kept for it where the disk takes no more."""


class Speech(io.TextIOBase):
    """A text stream into a file. If the file takes no more, as on a full disk, the rest is for its reader."""

    def __init__(self, path: Path) -> None:
        self.rest = b""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed with the stream

    def write(self, text: str) -> int:
        """Write, or keep."""
        new = text.encode(errors="replace")
        if not self.rest:
            with suppress(OSError):
                new = new[self._file.write(new) :]
        self.rest = (self.rest + new)[-UNSAID:]
        return len(text)

    def close(self) -> None:
        """Close the file as well."""
        self._file.close()
        super().close()


class Output:
    """What a trial says in a file, shown here line by line behind its name, from now on."""

    def __init__(self, path: Path, name: str, stream: TextIO) -> None:
        self.path, self.name, self.stream = path, name, stream
        self._shown = path.stat().st_size if path.exists() else 0

    def show(self, rest: bytes = b"") -> None:
        """Show the lines that are new and whole, up to the ``rest`` that is not in the file."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(self._shown)
            new = file.read()
        whole = (new + rest)[: (new + rest).rfind(b"\n") + 1]
        self._shown += min(len(whole), len(new))
        for line in filter(None, whole.decode(errors="replace").splitlines()):
            self.stream.write(f"{self.name}: {line}\n")
        self.stream.flush()


def streams_of(job: Job) -> list[tuple[Path, TextIO]]:
    """Files in which a trial's worker speaks and complains, and where that is shown."""
    folder = job.folder.parent / OUTPUT
    return [
        (folder / f"{job.folder.name}.out", sys.stdout),
        (folder / f"{job.folder.name}.err", sys.stderr),
    ]
