"""The sections of a config, each declared beside what it is for, and the one about the run itself.

A key is one line of its section: type, bounds, default (the legacy pipeline's) and meaning. Validation, the
reference of keys, the JSON schema and the command lines derive from the sections.
"""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from agents.settings import Section, Seed, key

if TYPE_CHECKING:
    from agents.learners.base import Learner


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("unprintable", "")
    return text


def _expanded(path: str) -> str:
    """A path without ``~`` and without what means nothing, like a last slash."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise ValueError(f"{json.dumps(path)}: {error}") from None


def _folder(path: str) -> str:
    if not Path(path).is_dir():
        raise ValueError(f"{json.dumps(path)} is not a folder")
    return path


def _false(value: bool) -> bool:
    if value:  # Defect T2
        raise ValueError("true is not supported; there is no imitation agent")
    return value


Text = Annotated[str, Field(min_length=1), AfterValidator(_printable)]


class RunSettings(Section):
    """What is run, from where, and into which folder."""

    seed: Seed = key(..., "trial seed: seeds every random generator")
    save_dir: Annotated[Text, AfterValidator(_expanded)] = key(
        ..., "folder under which a run creates its own; `~` is the home folder", free=True
    )
    imitation_learning: Annotated[bool, AfterValidator(_false)] = key(
        ..., "must be false: no imitation agent exists"
    )
    agent_type: Text = key(..., "the learner")
    load_model: Annotated[Text, AfterValidator(_folder)] | None = key(
        None, "model folder to start from; absent: random initial weights"
    )


class ClusterSettings(Section):
    """What a trial takes of a Ray cluster, ``--ray``; how many run at a time follows from it."""

    num_cpus: float = key(
        1.0,
        "cores that a trial takes of a Ray cluster, and each of its collectors",
        legacy=False,
        free=True,
        gt=0,
        le=1024,
    )
    num_gpus: float = key(
        1.0,
        "GPUs that a trial on `cuda` takes of a Ray cluster; 0.25: four trials share one",
        legacy=False,
        free=True,
        gt=0,
        le=1,
    )
    trial_timeout: float | None = key(
        None,
        "seconds without a step after which a trial's process on a Ray cluster is replaced; longer than "
        "an evaluation takes, or compiling; absent: no limit",
        legacy=False,
        free=True,
        ge=10,
        le=1e9,
    )


class SearchSettings(Section):
    """How ranges are searched; trials have no ``samples``."""

    samples: int = key(
        0,
        'values drawn from each range, as `{"learning_rate": {"loguniform": [1e-4, 1e-3]}}`; '
        "`uniform`, and `choice` of a list, are ranges too",
        legacy=False,
        free=True,
        ge=0,
        le=10_000,
    )
    scheduler: Literal["asha"] | None = key(
        None,
        "`asha`, with `--ray`: stop trials early whose evaluations are worse than others'",
        legacy=False,
        free=True,
    )


SCHEDULES = ("training_schedule", "eval_schedule")
"""Keys whose lists are no sweeps."""

GONE = {"n_step_streams": "each robot's own stream is followed outside reproduction mode; leave it out"}
"""Keys of older versions, with what became of them."""


# Imported when asked for: torch takes seconds, and help and version need none of this.
@cache
def learners() -> dict[str, type["Learner"]]:
    """Every learner by its name."""
    from agents.learners import LEARNERS

    return LEARNERS


@cache
def sections() -> dict[str, type[Section]]:
    """Sections of a trial by their names, in the order of the reference; each learner has its own class."""
    from agents.learners.base import LearnerSettings
    from torchrl_gpu.collect.policy_wrapper import PolicySettings
    from torchrl_gpu.collect.remote_steps import CollectSettings
    from torchrl_gpu.collect.tensor_steps import StepSettings
    from torchrl_gpu.collect.worlds import WorldSettings
    from torchrl_gpu.evaluation.batched import RecordSettings
    from torchrl_gpu.evaluation.one_by_one import EpisodeSettings
    from torchrl_gpu.learn.average import AverageSettings
    from torchrl_gpu.learn.scale import ScaleSettings
    from torchrl_gpu.learn.schedule import Schedule
    from torchrl_gpu.learn.update import UpdateSettings
    from torchrl_gpu.replay.memories import ReplaySettings
    from torchrl_gpu.runs.checkpoint import CheckpointSettings
    from torchrl_gpu.seeds_together import TogetherSettings
    from torchrl_gpu.watch.loggers import LoggerSettings

    return {
        "run": RunSettings,
        "update": UpdateSettings,
        "world": WorldSettings,
        "schedule": Schedule,
        "replay": ReplaySettings,
        "scale": ScaleSettings,
        "policy": PolicySettings,
        "steps": StepSettings,
        "collect": CollectSettings,
        "learner": LearnerSettings,
        "episodes": EpisodeSettings,
        "record": RecordSettings,
        "average": AverageSettings,
        "logger": LoggerSettings,
        "checkpoints": CheckpointSettings,
        "together": TogetherSettings,
        "cluster": ClusterSettings,
        "search": SearchSettings,
    }


def sections_of(agent_type: str) -> dict[str, type[Section]]:
    """The sections of a learner's trials."""
    return {**sections(), "learner": learners()[agent_type].Settings}


@cache
def keys_of(agent_type: str) -> dict[str, Any]:
    """The keys that a learner's trials have, with pydantic's description of each."""
    return {
        name: field
        for section in sections_of(agent_type).values()
        for name, field in section.model_fields.items()
        if _means_something(field, learners()[agent_type])
    }


def _means_something(field: Any, learner: type["Learner"]) -> bool:
    only = field.json_schema_extra["only"]
    return only is None or getattr(learner, only[0]) is only[1]


@cache
def owners() -> dict[str, list[str]]:
    """Every key, with the names of the learners that have it."""
    found = {name: [] for section in sections().values() for name in section.model_fields}
    for agent_type in learners():
        for name in keys_of(agent_type):
            found.setdefault(name, []).append(agent_type)
    return found
