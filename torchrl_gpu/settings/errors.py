"""What is wrong with a config, in one line that names the key, the value and what is allowed."""

from collections.abc import Iterable
from textwrap import shorten
from typing import Any

from pydantic import ValidationError

from agents.settings import Section
from torchrl_gpu.program import near
from torchrl_gpu.settings.reference import allowed, schema_of, show

LONGEST, AND_MORE = 800, " ... (docs/reference/keys.md has all)"
"""Characters of a list of keys, and how a longer one ends."""


class ConfigError(ValueError):
    """A config that cannot be run; the message is the one line shown to the user."""


def explanation(error: ValidationError, section: type[Section]) -> str:
    """The first thing that pydantic found wrong with a section, in the words of this project."""
    first = error.errors()[0]
    place, value = first["loc"], first["input"]
    if first["type"] == "value_error":  # of a validator of ours
        told = str(first["ctx"]["error"])
        return f"key {place[0]!r}: {told}" if place else told
    name, *inner = place
    schema = schema_of(section)[name]
    if not inner or "properties" not in schema:  # else it is an object, and within it
        return f"key {name!r}: {show(value)} is not allowed; it must be {allowed(schema)}"
    where = f" in {name!r}"
    if first["type"] == "extra_forbidden":
        return unknown(inner[0], schema["properties"], where)
    if first["type"] == "missing":
        return missing([each["loc"][1] for each in error.errors() if each["type"] == "missing"], where)
    column, *row = inner
    schema = schema["properties"][column]
    if not row:
        return f"key {name!r}: {column!r} must be {allowed(schema)}, got {show(value)}"
    what = f"{show(value)} in {column!r} is not allowed"
    return f"key {name!r}: {what}; it must be {allowed(schema['items'])}"


def unknown(name: str, known: Iterable[str], where: str = "") -> str:
    """An unknown key, with the nearest known one."""
    hint = near(name, known) or f"; known keys are {shorten(', '.join(known), LONGEST, placeholder=AND_MORE)}"
    return f"unknown key {name!r}{where}{hint}"


def missing(names: list[str], where: str = "") -> str:
    """Required keys that are not there."""
    return f"missing key{'s' * (len(names) > 1)} {', '.join(map(repr, names))}{where}"


def refused(name: str, value: Any, schema: dict[str, Any]) -> ConfigError:
    """A value that a key does not allow."""
    return ConfigError(f"key {name!r}: {show(value)} is not allowed; it must be {allowed(schema)}")
