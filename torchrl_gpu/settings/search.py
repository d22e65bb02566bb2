"""Ranges in a config, ``{"learning_rate": {"loguniform": [1e-4, 1e-3]}}``, and what is drawn from them.

What is drawn follows from the config alone, so that a resumed run has the trials that it had.
"""

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from torchrl_gpu.settings.errors import ConfigError
from torchrl_gpu.settings.reference import all_keys, show

DIGITS = 4
"""Significant digits of a number that is drawn: the folder of its trial is named by it."""


class Range(NamedTuple):
    """What a key may be: a kind of `KINDS` between two numbers, or one of some choices."""

    name: str  # of the key
    kind: str
    values: list[Any]
    whole: bool  # whether the key takes whole numbers alone

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one value of the key."""
        if self.kind == "choice":
            return self.values[rng.integers(len(self.values))]
        low, high = self.values
        number = min(max(float(f"{KINDS[self.kind](rng, low, high):.{DIGITS}g}"), low), high)
        return round(number) if self.whole else number


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return rng.uniform(low, high)


def _loguniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


KINDS: dict[str, Callable[[np.random.Generator, float, float], float]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
}


def ranges_of(written: dict[str, Any], schedules: tuple[str, ...]) -> list[Range]:
    """The ranges of a config; ConfigError: one is malformed."""
    objects = {k: value for k, value in written.items() if isinstance(value, dict) and k not in schedules}
    return [_range(name, value) for name, value in objects.items()]


def _range(name: str, value: dict[str, Any]) -> Range:
    kind, values = next(iter(value.items()), ("", None))
    if len(value) != 1 or kind not in (*KINDS, "choice"):
        raise ConfigError(
            f"key {name!r}: {show(value)} is no range; it must be an object with one entry, "
            '"uniform", "loguniform" or "choice"'
        )
    if kind == "choice":
        if not isinstance(values, list) or not values:
            raise ConfigError(f"key {name!r}: 'choice' must be a non-empty list, got {show(values)}")
    else:
        _check_bounds(name, kind, values)
    types = {each.schema.get("type") for each in all_keys() if each.name == name}
    if kind != "choice" and not types & {"integer", "number"}:
        raise ConfigError(f"key {name!r}: {kind!r} is for numbers; give its values as a 'choice'")
    return Range(name, kind, values, types == {"integer"})


def _check_bounds(name: str, kind: str, values: Any) -> None:
    numbers = isinstance(values, list) and all(type(each) in (int, float) for each in values)
    if not (numbers and len(values) == 2 and values[0] < values[1]):
        raise ConfigError(f"key {name!r}: {kind!r} must be two ascending numbers, got {show(values)}")
    if kind == "loguniform" and values[0] <= 0:
        raise ConfigError(f"key {name!r}: {kind!r} must be above 0, got {show(values)}")


def drawn(ranges: list[Range], samples: int, seed: int) -> list[dict[str, Any]]:
    """As many points as asked for, all different. ConfigError: there are not as many."""
    rng, points = np.random.default_rng(seed), {}
    for _ in range(1000 * samples):
        point = {each.name: each.draw(rng) for each in ranges}
        points.setdefault(json.dumps(point), point)
        if len(points) == samples:
            return list(points.values())
    raise ConfigError(f"key 'samples': {samples} are more than the ranges have, {len(points)}")


def bounds(ranges: list[Range]) -> list[tuple[str, Any]]:
    """Values that the keys must allow if they are to allow all that may be drawn."""
    return [(each.name, value) for each in ranges for value in each.values]
