"""`torch.compile` for functions of which a process compiles many variants, called many times."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

KEPT = 2**25 - 2**13
"""Bytes of a block from which glibc learns most."""
_APART = "isolate_recompiles" in inspect.signature(torch.compile).parameters


def compile_whole(function: Callable, **options: Any) -> Callable:
    """Compile `function` as one graph at its first call, or raise; options are those of `torch.compile`."""
    # With graphs that no other call of this shares: torch keeps all graphs of a function together and stops
    # after eight, which the ninth size of a world or trial of a sweep would meet. Older versions cannot keep
    # them apart.
    keep_memory()
    if _APART:
        options = {"isolate_recompiles": True, **options}
    # To look at each call whether the names that the code refers to still mean the same, which nobody
    # changes, takes a fifth of the time of a small step.
    settings = {"guard_filter_fn": torch.compiler.skip_guard_on_globals_unsafe, **options.pop("options", {})}
    return torch.compile(function, **{"fullgraph": True, **options, "options": settings})


def keep_memory() -> None:
    """Let the C library keep the memory that a call frees for the next one."""
    # It would give megabytes back to the system and fetch them again, zeroed, at every call, which can take
    # as long as the work. glibc learns from the largest block it has freed, up to 32 MiB; others ignore it.
    torch.empty(KEPT, dtype=torch.uint8)


def unguarded() -> AbstractContextManager:
    """Within the block compiled functions do not check their guards, which can take as long as the work."""
    # Only for calls that are known to be like an earlier one: same shapes and types, same settings. Functions
    # that have not been compiled yet raise a RuntimeError.
    return torch.compiler.set_stance("default", skip_guard_eval_unsafe=True)
