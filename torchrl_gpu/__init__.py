"""The TorchRL pipeline: the legacy schedule, batched."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Evaluation", "Result", "__version__", "evaluate", "load_policy", "train"]


def __getattr__(name: str) -> Any:
    # Looked up when asked for: torch takes seconds, and most of the package does without these.
    if name in __all__:
        return getattr(import_module("torchrl_gpu.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
