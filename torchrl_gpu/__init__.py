"""The TorchRL pipeline: the legacy schedule, batched."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
_FROM = {
    **dict.fromkeys(("Evaluation", "Result", "evaluate", "load_policy", "train"), "api"),
    "PolicyWrapper": "collect.policy_wrapper",
    "TorchRLTrainer": "torchrl_trainer",
}
__all__ = ["__version__", *_FROM]


def __getattr__(name: str) -> Any:
    # Looked up when asked for: torch takes seconds, and most of the package does without these.
    if name in _FROM:
        return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
