"""`torch.compile` for functions of which a process compiles many variants, called many times."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

KEPT = 2**25 - 2**13
"""Bytes of a block from which glibc learns most."""
MOST_LETTERS = 200
"""Of why something failed; compilers tell pages."""
_APART = "isolate_recompiles" in inspect.signature(torch.compile).parameters

Tell = Callable[[str], None]
"""Takes a line about what is being compiled, or could not be."""
_teller: ContextVar[Tell] = ContextVar("teller", default=lambda line: None)


def tell(line: str) -> None:
    """Say a line to whoever listens; nobody unless within `told`."""
    _teller.get()(line)


@contextmanager
def told(teller: Tell) -> Iterator[None]:
    """Within the block lines about compiling go to ``teller``."""
    before = _teller.set(teller)
    try:
        yield
    finally:
        _teller.reset(before)


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """Say that the block compiles something, and how long that took."""
    begin = time.monotonic()
    tell(f"compiling {what}; what was compiled before is taken from the cache")
    yield
    tell(f"compiled {what} in {time.monotonic() - begin:.0f} s")


class Compiled:
    """A function as one compiled graph from its first call on; see `compile_whole`."""

    def __init__(self, function: Callable, what: str, optional: bool, options: dict[str, Any]) -> None:
        keep_memory()
        self.function = torch.compile(function, **{"fullgraph": True, **options})
        self._eager = function
        self._what = what
        self._optional = optional
        self._called = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        if self._called or torch.compiler.is_compiling():
            return self.function(*args, **kwargs)
        try:
            with compiling(self._what):
                result = self.function(*args, **kwargs)
        except Exception as error:
            if not self._optional:
                raise
            tell(f"{self._what} cannot be compiled: {reason(error)}; it goes on without")
            self.function = self._eager
            result = self.function(*args, **kwargs)
        self._called = True
        return result


def compile_whole(function: Callable, what: str, *, optional: bool = False, **options: Any) -> Compiled:
    """Compile a pure function as one graph at its first call, or raise.

    If that is ``optional``, a line says why it cannot be compiled, and calls go on without. The function is
    named by ``what`` in what is told; options are those of `torch.compile`.
    """
    # With graphs that no other call of this shares: torch keeps all graphs of a function together and stops
    # after eight, which the ninth size of a world or trial of a sweep would meet. Older versions cannot keep
    # them apart.
    if _APART:
        options = {"isolate_recompiles": True, **options}
    # To look at each call whether the names that the code refers to still mean the same, which nobody
    # changes, takes a fifth of the time of a small step.
    settings = {"guard_filter_fn": torch.compiler.skip_guard_on_globals_unsafe, **options.pop("options", {})}
    return Compiled(function, what, optional, {**options, "options": settings})


def reason(error: BaseException) -> str:
    """Why something failed, in one line that is not too long."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_LETTERS]


def keep_memory() -> None:
    """Let the C library keep the memory that a call frees for the next one."""
    # It would give megabytes back to the system and fetch them again, zeroed, at every call, which can take
    # as long as the work. glibc learns from the largest block it has freed, up to 32 MiB; others ignore it.
    torch.empty(KEPT, dtype=torch.uint8)
