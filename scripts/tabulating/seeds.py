"""Numbers of several seeds."""

from collections.abc import Iterable

import numpy as np


def standard_error(values: Iterable[float]) -> float:
    """Of the mean of a sample of two and more: s / √n, with n - 1 in the variance; NaN if it holds one."""
    sample = np.array(list(values), dtype=float)
    return float(sample.std(ddof=1) / len(sample) ** 0.5)
