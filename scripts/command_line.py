"""What the commands share at the command line: help, version, exit statuses.

Exit statuses: 0 done, 1 failed, 2 bad usage or bad input. A bad input is one line that names the file or
argument and what is allowed.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torchrl_gpu import program
from torchrl_gpu.program import called_as
from torchrl_gpu.runs.folder import TRIAL_FILE
from torchrl_gpu.settings.sections import learners


class InputError(Exception):
    """A file or argument cannot be used; the message is the one line shown to the user."""


def new_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Parser of the script of this name; see `program.new_parser`."""
    return program.new_parser(name, description, examples, f"python scripts/{Path(name).stem}.py")


def run(
    name: str, work: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None
) -> int:
    """Call ``work(argv)`` for its exit status, None for 0; an error becomes one line on standard error."""
    name = called_as.get() or name
    try:
        return work(argv) or 0
    except InputError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{name}: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 1


def agent_type(text: str) -> str:
    """The name of a learner, for argparse; only whoever gives one waits for torch."""
    if text not in learners():
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(learners())}")
    return text


def reason(error: Exception) -> str:
    """Text of an error on one line; KeyError would put it into quotes."""
    return " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())


@contextmanager
def refused(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors whose text is for the user into InputError."""
    try:
        yield
    except kinds as error:
        raise InputError(str(error)) from error


@contextmanager
def model_refused(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Turn errors about a model into InputError, with what `instead` says of it."""
    try:
        yield
    except kinds as error:
        raise InputError(f"{error}{instead(path)}") from error


def instead(path: Path) -> str:
    """What to give in place of a folder that holds no results, or when to come back; may be empty."""
    if (path / TRIAL_FILE).is_file():
        return "; its run has not come to its first evaluation yet"
    trials = sorted(file.parent for file in path.rglob(TRIAL_FILE)) if path.is_dir() else []
    return f"; did you mean {trials[-1]}?" if trials else ""


def check_file(path: Path) -> None:
    """Raise InputError when there is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file" if not path.exists() else f"{path}: is a folder, not a file")


def output_path(path: Path, suffixes: Sequence[str], replaced: bool = True) -> Path:
    """Check, before any work, that ``path`` can be written and has one of ``suffixes``; return it.

    Unless it is not ``replaced``, a line says so if it is there.
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: unknown kind of output; the name must end in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file")
    if path.exists() and replaced:
        print(f"{path}: exists and will be replaced", file=sys.stderr)
    return path


def command(name: str, argv: Sequence[str] | None) -> str:
    """How a script was called, as it can be typed again."""
    words = sys.argv[1:] if argv is None else argv
    return shlex.join([*(called_as.get() or f"python scripts/{name}.py").split(), *words])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """A table in Markdown; see `program.table`."""
    marks = ["---" if k < left else "---:" for k in range(len(header))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, marks, *rows))


def pick(index: int, length: int, what: str) -> int:
    """Return ``index`` into a list of ``length``, negative ones counted from the end; InputError outside."""
    if not -length <= index < length:
        raise InputError(f"{what} {index} does not exist; allowed are {-length} to {length - 1}")
    return index % length
