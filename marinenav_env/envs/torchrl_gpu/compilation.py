"""`torch.compile` for functions of which a process compiles many variants."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

_APART = "isolate_recompiles" in inspect.signature(torch.compile).parameters


def compile_whole(function: Callable, **options: Any) -> Callable:
    """Compile `function` as one graph, or raise, with graphs that no other call of this shares.

    torch keeps all graphs of a function together and stops after eight, which the ninth size of a world or
    the ninth trial of a sweep would meet. Older versions cannot keep them apart.

    Args:
        function: what to compile, at its first call.
        **options: of `torch.compile`.
    """
    if _APART:
        options = {"isolate_recompiles": True, **options}
    return torch.compile(function, **{"fullgraph": True, **options})
