"""From a config file to its trials: reading, validation, and the expansion of sweeps.

What a config may hold is in :mod:`torchrl_gpu.settings.schema`. A config is refused before anything is built
or written, in one line that names the key, the value and what is allowed.
"""

import difflib
import itertools
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torchrl_gpu.settings.schema import REQUIRED, SCHEDULES, SCHEMA, Key, show


class ConfigError(ValueError):
    """A config that cannot be run; the message is the one line shown to the user."""


NOT_IN_NAMES = ("seed", "save_dir")
"""Swept keys that a trial's folder does not spell out again: they are in its path anyway."""

MOST_TRIALS = 10_000
"""Trials of one config."""


@dataclass(frozen=True)
class Trial:
    """One point of a sweep.

    Attributes:
        values: The trial's dictionary as `trial_config.json` holds it: keys given in the config with lists
            expanded, then the two schedules.
        swept: Keys whose value differs between the trials of the config.
    """

    values: dict[str, Any]
    swept: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        """Value of a key of the schema, its default when the config does not give it."""
        return self.values.get(name, SCHEMA[name].default)

    @property
    def name(self) -> str:
        """Folder name: the seed, then every other swept key (Defect T8: legacy names held the seed only)."""
        parts = [f"seed_{self['seed']}"]
        parts += [f"{key}_{self[key]}" for key in self.swept if key not in NOT_IN_NAMES]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts))

    @property
    def changed_throughput_keys(self) -> tuple[str, ...]:
        """Keys that take this trial out of reproduction mode."""
        return tuple(name for name, key in SCHEMA.items() if key.throughput and self[name] != key.default)

    @property
    def prioritized(self) -> bool:
        """Whether the replay memory is prioritised."""
        return self["agent_type"] == "Rainbow" or self["prioritized_replay"]

    @property
    def reproduction(self) -> bool:
        """Whether the trial must give the legacy pipeline's numbers."""
        return not self.changed_throughput_keys


class Experiment(NamedTuple):
    """A config file: the object as written, and its trials."""

    written: dict[str, Any]
    trials: list[Trial]


def read_config(path: str | Path) -> Experiment:
    """Read, check and expand a config file.

    Args:
        path: JSON file with one object.

    Returns:
        The object as written, and the trials in legacy order: last key fastest.

    Raises:
        ConfigError: The file or anything in it cannot be used.
    """
    try:
        written = _parse(path)
        return Experiment(written, make_trials(written))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _parse(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        written = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text; a config is a JSON object") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"malformed JSON at line {error.lineno} column {error.colno}: {error.msg}"
        ) from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("malformed JSON: nested too deeply, or a number with too many digits") from None
    if not isinstance(written, dict):
        raise ConfigError(f"must hold one JSON object, got {show(written)}")
    return written


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys each appear once."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"key {name!r} is given more than once")
    return dict(pairs)


def _no_constant(text: str) -> None:
    """NaN and infinities are no JSON and no sensible value of any key."""
    raise ConfigError(f"{text} is not a number JSON knows")


def make_trials(written: dict[str, Any]) -> list[Trial]:
    """Check a config object and expand its lists into trials.

    Args:
        written: The object as read from JSON; not changed.

    Returns:
        One trial per combination of the lists' elements.

    Raises:
        ConfigError: A key is unknown, missing, of the wrong type or out of range, or does not fit another.
    """
    check_names(written, SCHEMA, "")
    for name, key in SCHEMA.items():
        if name in SCHEDULES and name in written:
            check_schedule(name, written[name])
        elif name in written:
            check_alternatives(name, key, written[name])
    swept = {name: value for name, value in written.items() if name not in SCHEDULES}
    _check_size(swept)
    schedules = {name: written[name] for name in SCHEDULES}
    differing = tuple(name for name, value in swept.items() if isinstance(value, list) and len(value) > 1)
    trials = [Trial(values | schedules, differing) for values in expand(swept)]
    for trial in trials:
        validate(trial)
    _check_distinct(trials)
    return trials


def expand(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the elements of the lists in ``values`` (training spec 2.2).

    Args:
        values: Config without its schedules; a list is a sweep over its elements, anything else is one value.

    Returns:
        One dictionary per combination, with the keys in their order, the last key's elements fastest.
    """
    alternatives = [value if isinstance(value, list) else [value] for value in values.values()]
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*alternatives)]


def check_names(given: dict[str, Any], known: dict[str, Key], where: str) -> None:
    """Refuse unknown keys, with the nearest known one, and missing required ones."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
            raise ConfigError(f"unknown key {name!r}{where}; {hint}")
    missing = [name for name, key in known.items() if key.default is REQUIRED and name not in given]
    if missing:
        raise ConfigError(f"missing key{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}{where}")


def check_alternatives(name: str, key: Key, value: Any) -> None:
    """Check a value, or every element of a list of values, against its key."""
    alternatives = value if isinstance(value, list) else [value]
    if not alternatives:
        raise ConfigError(f"key {name!r}: an empty list is a sweep without trials; give at least one value")
    for alternative in alternatives:
        if not key.accepts(alternative):
            raise ConfigError(f"key {name!r}: {show(alternative)} is not allowed; it must be {key.allowed}")


def check_schedule(name: str, schedule: Any) -> None:
    """Check the lists of a schedule one by one and against each other."""
    columns = SCHEDULES[name]
    if not isinstance(schedule, dict):
        raise ConfigError(f"key {name!r}: must be an object of equally long lists, got {show(schedule)}")
    check_names(schedule, columns, f" in {name!r}")
    for column, key in columns.items():
        values = schedule[column]
        if not isinstance(values, list) or not values:
            raise ConfigError(f"key {name!r}: {column!r} must be a non-empty list, got {show(values)}")
        for value in values:
            if not key.accepts(value):
                raise ConfigError(
                    f"key {name!r}: {show(value)} in {column!r} is not allowed; it must be {key.allowed}"
                )
    lengths = {column: len(schedule[column]) for column in columns}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{column} {length}" for column, length in lengths.items())
        raise ConfigError(f"key {name!r}: its lists must be equally long, got {listed}")
    if name == "training_schedule":
        _check_timesteps(schedule["timesteps"])
    elif sum(schedule["num_episodes"]) == 0:  # Defect T20
        raise ConfigError("key 'eval_schedule': 'num_episodes' has no episode; at least one is needed")


def _check_timesteps(timesteps: list[int]) -> None:
    """Stages start at 0 (Quirk W10 picks the last stage before the first) and ascend."""
    if timesteps[0] != 0:
        raise ConfigError(f"key 'training_schedule': 'timesteps' must start with 0, got {timesteps[0]}")
    if timesteps != sorted(timesteps):
        raise ConfigError(f"key 'training_schedule': 'timesteps' must ascend, got {timesteps}")


def validate(trial: Trial) -> None:
    """Rules between the keys of one trial.

    Args:
        trial: A trial whose keys are each of the right type and range.

    Raises:
        ConfigError: The trial could not run, or would learn nothing.
    """
    if trial["imitation_learning"]:  # Defect T2
        raise ConfigError("key 'imitation_learning': true is not supported; there is no imitation agent")
    if trial["load_model"] is not None and not Path(trial["load_model"]).is_dir():
        raise ConfigError(f"key 'load_model': {show(trial['load_model'])} is not a folder")
    if trial["buffer_size"] <= trial["batch_size"]:
        raise ConfigError(
            f"key 'buffer_size': {trial['buffer_size']} must be above 'batch_size', {trial['batch_size']}"
        )
    if trial["stage_mix"] and trial["backend"] != "torch":
        raise ConfigError("key 'stage_mix': true needs 'backend' \"torch\"")
    stages = len(trial["training_schedule"]["timesteps"])
    if trial["stage_mix"] and trial["num_envs"] < stages:
        raise ConfigError(
            f"key 'stage_mix': true needs an environment for each stage; 'num_envs' is {trial['num_envs']}, "
            f"'training_schedule' has {stages} stages"
        )
    if trial["autocast"] and not trial["compile"]:
        raise ConfigError("key 'autocast': true needs 'compile' true")
    if trial["agent_type"] == "Rainbow" and trial.reproduction and trial["buffer_size"] % 2:
        raise ConfigError(
            f"key 'buffer_size': {trial['buffer_size']} must be even for Rainbow in reproduction mode"
        )


def _check_size(swept: dict[str, Any]) -> None:
    """Refuse a sweep that nobody means, before its trials fill the memory."""
    count = math.prod(len(value) for value in swept.values() if isinstance(value, list))
    if count > MOST_TRIALS:
        lists = ", ".join(f"{name} {len(value)}" for name, value in swept.items() if isinstance(value, list))
        raise ConfigError(f"the lists make {count} trials, at most {MOST_TRIALS} are allowed: {lists}")


def _check_distinct(trials: list[Trial]) -> None:
    """Refuse trials that would write into one folder."""
    folders: set[tuple[str, str]] = set()
    for trial in trials:
        folder = (trial["save_dir"], trial.name)
        if folder in folders:
            raise ConfigError(
                f"two trials would write into {trial['save_dir']}/.../{trial.name}; "
                "the values of a sweep must differ"
            )
        folders.add(folder)
