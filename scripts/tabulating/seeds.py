"""Numbers of several seeds."""

import statistics
from collections.abc import Iterable


def standard_error(values: Iterable[float]) -> float:
    """Of the mean of a sample: s / √n, with n - 1 in the variance; statistics.StatisticsError below two."""
    values = [float(value) for value in values]
    return statistics.stdev(values) / len(values) ** 0.5
