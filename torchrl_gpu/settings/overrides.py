"""Keys given on the command line, ``seed=0..3 learning_rate=1e-4,5e-4``, and those that make a run fast."""

import json
import re
from collections.abc import Sequence
from typing import Any

from torchrl_gpu.settings.errors import ConfigError

RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
LONGEST_RANGE = 10_000
ENVIRONMENTS = {"cpu": 256, "cuda": 1024}


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Keys and values from ``key=value`` arguments; ConfigError for what is none, or names a key again.

    A value is JSON, a range of whole numbers ``0..9``, several of these with commas in between, which is a
    sweep, or else text.
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not (name and equals and text):
            raise ConfigError(f"argument {argument!r}: it must be key=value")
        if name in values:
            raise ConfigError(f"argument {argument!r}: key {name!r} is given more than once")
        values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    if (found := _json(text)) is not None:
        return found[0]
    values = [value for part in text.split(",") for value in _values(part)]
    return values if len(values) > 1 or RANGE.fullmatch(text) else text


def _values(text: str) -> Sequence[Any]:
    """Values of a range, or the one value of a text."""
    if not (bounds := RANGE.fullmatch(text)):
        return _json(text) or [text]
    first, last = map(int, bounds.groups())
    if not 0 <= last - first < LONGEST_RANGE:
        raise ConfigError(f"range {text!r}: it must ascend, by less than {LONGEST_RANGE}")
    return range(first, last + 1)


def _json(text: str) -> list[Any] | None:
    """The value of a JSON text, in a list; None if it is none."""
    try:
        return [json.loads(text, parse_float=_number)]
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> int | float:
    """A number with a point or an exponent; ``1e5`` is a whole number, as whoever types it means."""
    number = float(text)
    return int(number) if "." not in text and number.is_integer() and abs(number) < 2**53 else number


def fast_keys(device: str) -> dict[str, Any]:
    """Throughput keys that suit a device, for a config of the legacy pipeline."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    return {"num_envs": ENVIRONMENTS[kind], "backend": "torch", "compile": "auto"}
