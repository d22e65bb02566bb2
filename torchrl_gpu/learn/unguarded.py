"""Calls of compiled functions without looking first whether what they were compiled for still holds."""

from contextlib import AbstractContextManager

import torch


def unguarded() -> AbstractContextManager:
    """Within the block compiled functions do not check their guards, which can take as long as the work.

    Only for calls that are known to be like an earlier one: same shapes and types, same settings. Functions
    that have not been compiled yet raise a RuntimeError.
    """
    return torch.compiler.set_stance("default", skip_guard_eval_unsafe=True)
