"""What the viewing scripts share at the command line: help, version, exit statuses.

Exit statuses: 0 done, 1 failed, 2 bad usage or bad input. A bad input is one line that names the file or
argument and what is allowed.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from torchrl_gpu import __version__
from torchrl_gpu.settings.sections import learners

called_as: ContextVar[str] = ContextVar("called_as", default="")
"""How the program was called, if not as a script: ``marinenav view``."""


class InputError(Exception):
    """A file or argument cannot be used; the message is the one line shown to the user."""


def new_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Parser with ``--version`` and, below the options, examples; named as `called_as` says."""
    program = called_as.get()
    if program:
        examples = examples.replace(f"python scripts/{Path(name).stem}.py", program)
    parser = argparse.ArgumentParser(
        prog=program or name,
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


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


def check_file(path: Path) -> None:
    """Raise InputError when there is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file" if not path.exists() else f"{path}: is a folder, not a file")


def output_path(path: Path, suffixes: Sequence[str]) -> Path:
    """Check, before any work, that ``path`` can be written and has one of ``suffixes``; return it."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: unknown kind of output; the name must end in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file")
    if path.exists():
        print(f"{path}: exists and will be replaced", file=sys.stderr)
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Aligned text: the first ``left`` columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{'<' if k < left else '>'}{widths[k]}}" for k, cell in enumerate(row)).rstrip()
        for row in (header, *rows)
    )


def pick(index: int, length: int, what: str) -> int:
    """Return ``index`` into a list of ``length``, negative ones counted from the end; InputError outside."""
    if not -length <= index < length:
        raise InputError(f"{what} {index} does not exist; allowed are {-length} to {length - 1}")
    return index % length
