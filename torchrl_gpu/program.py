"""What all commands share: how they are called, help, tables, errors in one line. It needs no package."""

import argparse
import difflib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn

from torchrl_gpu import __version__

PROGRAM = "marinenav"
OWN = ("marinenav_env", "agents", "torchrl_gpu", "scripts", "config", "models")
"""Packages of this project."""

LARGEST_ARGUMENT = 10**9
"""Largest number of processes, environments or the like that a command line takes."""

called_as: ContextVar[str] = ContextVar("called_as", default="")
"""How a command was called, if not as a script or a module: ``marinenav view``."""


class Parser(argparse.ArgumentParser):
    """Answers bad usage in one line, which names the nearest option and where to look for more."""

    def error(self, message: str) -> NoReturn:
        """Print it and exit with status 2."""
        start = "unrecognized arguments: "
        if message.startswith(start + "-"):
            given = message.removeprefix(start).split()[0].partition("=")[0]
            takes_keys = given.startswith("--") and any(a.dest == "overrides" for a in self._actions)
            hint = near(given, re.findall(r"--[\w-]+", self.format_usage()), 0.8 if takes_keys else 0.5)
            if takes_keys and not hint:
                key = given.strip("-").replace("-", "_")
                hint = f"; if it is a key of the config, it is given as {key}=VALUE"
            message += hint
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} -h)\n")


def near(given: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """``; did you mean 'train'?``, or nothing if nothing known is like what was given."""
    found = difflib.get_close_matches(given, known, n=1, cutoff=likeness)
    return f"; did you mean {found[0]!r}?" if found else ""


def new_parser(name: str, description: str, examples: str, script: str) -> Parser:
    """Parser with ``--version`` and, below the options, examples; named as `called_as` says.

    ``script`` is how the examples call it; they are shown as the user called it.
    """
    program = called_as.get()
    parser = Parser(
        prog=program or name,
        description=description,
        epilog="examples:\n" + (examples.replace(script, program) if program else examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def positive(text: str) -> int:
    """A whole number from 1 to `LARGEST_ARGUMENT`, for argparse."""
    if not text.isdecimal() or len(text) > 20 or not 1 <= int(text) <= LARGEST_ARGUMENT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {LARGEST_ARGUMENT}")
    return int(text)


def duration(text: str) -> float:
    """Seconds above 0, for argparse."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def typed(word: str) -> str:
    """A command as it is typed here: with the path of the program where the shell would not find it."""
    program = sys.argv[0]
    if Path(program).name != PROGRAM:
        return f"{PROGRAM} {word}"
    found = shutil.which(PROGRAM)
    return f"{PROGRAM if found and os.path.samefile(found, program) else program} {word}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Aligned text: the first ``left`` columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{'<' if k < left else '>'}{widths[k]}}" for k, cell in enumerate(row)).rstrip()
        for row in (header, *rows)
    )


@contextmanager
def packages_needed() -> Iterator[None]:
    """Within the block a package that is not installed ends the program, in one line that says what to do."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if not name or name in OWN:
            raise
        print(
            f"error: {sys.executable} has no package {name!r}; use the Python into which marinenav is "
            "installed (make train: .venv/bin/python), or install it: python -m pip install -e .",
            file=sys.stderr,
        )
        sys.exit(2)
