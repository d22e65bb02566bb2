"""From a config file to its trials: reading, validation, and the expansion of sweeps.

What a config may hold is in `torchrl_gpu.settings.sections`. A config is refused before anything is built or
written, in one line that names the key, the value and what is allowed.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torchrl_gpu.program import near
from torchrl_gpu.settings.errors import ConfigError, missing, refused, unknown
from torchrl_gpu.settings.overrides import fast_keys, parse_overrides
from torchrl_gpu.settings.reference import all_keys, schema_of, show
from torchrl_gpu.settings.search import Range, bounds, drawn, ranges_of
from torchrl_gpu.settings.sections import (
    GONE,
    SCHEDULES,
    RunSettings,
    SearchSettings,
    keys_of,
    learners,
    owners,
)
from torchrl_gpu.settings.trial import STAMP, Trial

__all__ = ["ConfigError", "Experiment", "Trial", "expand", "make_trials", "read_config"]

SAMPLES = "samples"
"""Key that says how many values are drawn from ranges."""
MOST_TRIALS = 10_000
"""Trials of one config."""


class Experiment(NamedTuple):
    """A config file: the object as written, and its trials."""

    written: dict[str, Any]
    trials: list[Trial]


def read_config(path: str | Path, overrides: Sequence[str] = (), fast_on: str | None = None) -> Experiment:
    """Read, check and expand a JSON file with one object; its key ``$schema`` is for editors.

    A ``trial_config.json`` is one, too.

    ``overrides``, ``key=value`` arguments, win over the file. Throughput keys are chosen for the device
    ``fast_on``, where the config gives none. The trials are in legacy order: last key fastest. ConfigError:
    the file, an argument or anything in them cannot be used.
    """
    try:
        written = without_stamp(_parse(path)) | parse_overrides(overrides)
        if fast_on:
            written = fast_keys(fast_on) | written
        return Experiment(written, make_trials(written))
    except ConfigError as error:
        raise ConfigError(f"{' '.join((str(path), *overrides))}: {error}") from None


def without_stamp(written: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config, or of what describes a trial in its folder."""
    return {name: value for name, value in written.items() if name != STAMP}


def _parse(path: str | Path) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        written = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except FileNotFoundError as error:
        raise ConfigError(f"{error.strerror}{_another_file(Path(path))}") from None
    except IsADirectoryError:
        raise ConfigError(f"is a folder, not a config file{_another_file(Path(path))}") from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text; a config is a JSON object") from None
    except json.JSONDecodeError as error:
        what = "malformed JSON" if error.pos else "is no JSON, as a config is: malformed"
        raise ConfigError(f"{what} at line {error.lineno} column {error.colno}: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("malformed JSON: nested too deeply, or a number with too many digits") from None
    if not isinstance(written, dict):
        raise ConfigError(f"must hold one JSON object, got {show(written)}")
    return written


def _another_file(path: Path) -> str:
    """A config that may have been meant, in the folder given, beside the file given or in ``config``."""
    if found := sorted(path.glob("*.json")):
        return f"; it holds {found[0]}"
    beside = [str(file) for folder in {path.parent, Path("config")} for file in folder.glob("*.json")]
    return near(str(path), beside, likeness=0.65) or (
        f"; there are {', '.join(sorted(beside))}" if beside else ""
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ConfigError(f"key {name!r} is given more than once")
    return dict(pairs)


def _no_constant(text: str) -> None:
    """NaN and infinities are no JSON and no sensible value of any key."""
    raise ConfigError(f"{text} is not a number JSON knows")


def make_trials(written: dict[str, Any]) -> list[Trial]:
    """Check a config object as read from JSON, and expand its lists into trials.

    One per combination of the lists' elements, where learners that lack a swept key take no part.
    ConfigError: a key is unknown, missing, of the wrong type or out of range, or does not fit another.
    """
    written = {name: value for name, value in written.items() if name != "$schema"}
    _check_names(written)
    swept = {name: value for name, value in written.items() if name not in SCHEDULES}
    ranges = ranges_of(written, SCHEDULES)
    searched = [each.name for each in ranges]
    points = _points(ranges, swept)
    swept = {name: value for name, value in swept.items() if name not in (*searched, SAMPLES)}
    _check_size(swept, len(points))
    schedules = {name: written[name] for name in SCHEDULES}
    differing = [name for name, value in swept.items() if isinstance(value, list) and len(value) > 1]
    differing = tuple(name for name in written if name in (*differing, *searched))
    combinations = [values | point for point in points for values in expand(swept)]
    _check_bounds(ranges, combinations[0] | schedules)
    points = _distinct(combinations)
    trials = [trial for values in points for trial in _trials_of(values | schedules, differing)]
    _check_distinct(trials)
    return trials


def _trials_of(values: dict[str, Any], swept: tuple[str, ...]) -> list[Trial]:
    """The trial of a point of a sweep, or those of the seeds from its own on that are trained together."""
    first = Trial.of(values, swept)
    if (count := first.together.seeds_together) == 1:
        return [first]
    seeds = range(first.run.seed, first.run.seed + count)
    return [replace(Trial.of(values | {"seed": seed}, swept), leader=first.name) for seed in seeds]


def _points(ranges: list[Range], swept: dict[str, Any]) -> list[dict[str, Any]]:
    """What is drawn from the ranges: one empty point without any. ConfigError: their number is missing."""
    samples = swept.get(SAMPLES, 0)
    if type(samples) is not int or not 0 <= samples <= MOST_TRIALS:
        raise refused(SAMPLES, samples, schema_of(SearchSettings)[SAMPLES])
    if bool(ranges) != bool(samples):
        needs = "a range" if samples else "values of 'samples', how many are to be drawn"
        raise ConfigError(f"key {SAMPLES if samples else ranges[0].name!r}: it needs {needs}")
    if not ranges:
        return [{}]
    seed = _alternatives(swept["seed"])[0]
    return drawn(ranges, samples, seed if type(seed) is int and seed >= 0 else 0)


def _check_bounds(ranges: list[Range], values: dict[str, Any]) -> None:
    """Refuse a range that reaches beyond what its key allows."""
    for name, value in bounds(ranges):
        if name in keys_of(values["agent_type"]):
            Trial.of(values | {name: value})


def expand(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the elements of the lists (training spec 2.2), the last key's fastest."""
    alternatives = [_alternatives(value) for value in values.values()]
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*alternatives)]


def _alternatives(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_names(written: dict[str, Any]) -> None:
    """Refuse unknown keys, with the nearest known one, keys that the learner lacks, and missing ones."""
    agents = _alternatives(written.get("agent_type", []))
    for agent in agents:
        if agent not in list(learners()):
            raise refused("agent_type", agent, schema_of(RunSettings)["agent_type"])
    known = owners()
    for name in written:
        if name in GONE:
            raise ConfigError(f"key {name!r} is gone: {GONE[name]}")
        if name not in known:
            raise ConfigError(unknown(name, known))
        if agents and not set(agents) & set(known[name]):
            raise ConfigError(
                f"key {name!r} has no effect on {' and '.join(agents)}; those that have it: "
                f"{', '.join(known[name])}"
            )
    absent = [key.name for key in all_keys() if key.required and key.name not in written]
    if absent:
        raise ConfigError(missing(absent))


def _check_size(swept: dict[str, Any], points: int) -> None:
    """Refuse a sweep that nobody means, before its trials fill the memory."""
    sizes = {name: len(value) for name, value in swept.items() if isinstance(value, list)}
    for name, size in sizes.items():
        if size == 0:
            raise ConfigError(
                f"key {name!r}: an empty list is a sweep without trials; give at least one value"
            )
    sizes |= {SAMPLES: points} if points > 1 else {}
    if (number := math.prod(sizes.values())) > MOST_TRIALS:
        lists = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError(f"the lists make {number} trials, at most {MOST_TRIALS} are allowed: {lists}")


def _distinct(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points of a sweep, but for those that differ from an earlier one in keys that their learner lacks."""
    seen: set[str] = set()
    kept = []
    for point in points:
        own = {name: value for name, value in point.items() if name in keys_of(point["agent_type"])}
        if len(own) < len(point):
            if (text := json.dumps(own)) in seen:
                continue
            seen.add(text)
        kept.append(point)
    return kept


def _check_distinct(trials: list[Trial]) -> None:
    """Refuse trials that would write into one folder."""
    written_by: dict[tuple[Path, str], Trial] = {}
    for trial in trials:
        other = written_by.setdefault((Path(trial.run.save_dir).resolve(), trial.name), trial)
        if other is trial:
            continue
        if other.run.save_dir != trial.run.save_dir or other.values["save_dir"] != trial.values["save_dir"]:
            paths = show(other.values["save_dir"]), show(trial.values["save_dir"])
            raise ConfigError(f"key 'save_dir': {paths[0]} and {paths[1]} are the same folder")
        raise ConfigError(
            f"two trials would write into {trial.run.save_dir}/.../{trial.name}; "
            "the values of a sweep must differ"
        )
