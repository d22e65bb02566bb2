"""Weights that may be changed for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def borrowed(weights: Iterable[Tensor]) -> Iterator[None]:
    """Within the block weights may be changed in place, without gradients; afterwards they are as before."""
    weights = list(weights)
    saved = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        try:
            yield
        finally:
            torch._foreach_copy_(weights, saved)
