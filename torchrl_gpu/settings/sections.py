"""The sections of a config: every key with its type, bounds, default and meaning, in one line.

The keys of a learner are declared in its own file, `agents.learners`. Defaults are the legacy pipeline's.
Validation, the reference of keys, the JSON schema and the command lines derive from the sections.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from agents.settings import LearnerSettings, Section, key
from marinenav_env.envs.contract.rewards import REWARDS, Term
from marinenav_env.envs.contract.stage import COLUMNS, stages_of
from torchrl_gpu.learn.schedule import LONGEST, Schedule

if TYPE_CHECKING:
    from agents.learners.base import Learner

MOST_THINGS = 100
"""Robots, vortices or obstacles: more than the area has room for."""
DIAGONAL = 72
"""Metres from corner to corner of the area in which robots start."""


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


Item = TypeVar("Item")
Column = Annotated[list[Item], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Things = Annotated[int, Field(ge=0, le=MOST_THINGS)]


class Stages(Section):
    """Equally long lists, an entry for each stage."""

    num_robots: Column[Annotated[int, Field(ge=1, le=MOST_THINGS)]] = key(..., "robots")
    num_cores: Column[Things] = key(..., "vortices")
    num_obstacles: Column[Things] = key(..., "static obstacles")
    min_start_goal_dis: Column[Annotated[float, Field(ge=0, le=DIAGONAL)]] = key(
        ..., "least distance from start to goal in m"
    )

    @model_validator(mode="after")
    def _equally_long(self) -> "Stages":
        lengths = {name: len(column) for name, column in self}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"its lists must be equally long, got {listed}")
        return self

    @model_validator(mode="after")
    def _placeable(self) -> "Stages":
        from marinenav_env.envs.reference.scenario import room_for  # here: it loads SciPy

        for stage in stages_of(dict(self)):
            for column, asked, fits in zip(COLUMNS, stage, room_for(stage), strict=True):
                if fits < asked:
                    raise ValueError(
                        f"{asked} in {column!r} find no room; at most {fits} fit with "
                        f"'min_start_goal_dis' {stage.min_start_goal_dis:g} and what else is placed"
                    )
        return self

    def __len__(self) -> int:
        return len(self.num_robots)


class TrainingSchedule(Stages):
    """Stages of the curriculum."""

    timesteps: Column[Annotated[int, Field(ge=0, le=LONGEST)]] = key(
        ..., "environment steps from which the stage holds, ascending from 0"
    )

    @model_validator(mode="after")
    def _ascending(self) -> "TrainingSchedule":
        """Quirk W10 picks the last stage before the first."""
        if self.timesteps[0] != 0:
            raise ValueError(f"'timesteps' must start with 0, got {self.timesteps[0]}")
        if self.timesteps != sorted(self.timesteps):
            raise ValueError(f"'timesteps' must ascend, got {self.timesteps}")
        return self


class EvalSchedule(Stages):
    """Episodes of an evaluation."""

    num_episodes: Column[Annotated[int, Field(ge=0, le=100_000)]] = key(..., "episodes with the setting")

    @model_validator(mode="after")
    def _any(self) -> "EvalSchedule":
        if sum(self.num_episodes) == 0:  # Defect T20
            raise ValueError("'num_episodes' has no episode; at least one is needed")
        return self


class RunSettings(Section):
    """What is run, from where, into which folder, and how it is computed."""

    seed: Seed = key(..., "trial seed: seeds every random generator")
    save_dir: Annotated[Text, AfterValidator(_expanded)] = key(
        ..., "folder under which a run creates its own; `~` is the home folder"
    )
    imitation_learning: Annotated[bool, AfterValidator(_false)] = key(
        ..., "must be false: no imitation agent exists"
    )
    agent_type: Text = key(..., "the learner")
    load_model: Annotated[Text, AfterValidator(_folder)] | None = key(
        None, "model folder to start from; absent: random initial weights"
    )
    compile: bool = key(False, "compile the step of the tensor world and the whole update", throughput=True)
    autocast: bool = key(False, "bfloat16 matrix products in compiled updates", throughput=True)

    @model_validator(mode="after")
    def _autocast_where_compiled(self) -> "RunSettings":
        if self.autocast and not self.compile:
            raise ValueError("key 'autocast': true needs 'compile' true")
        return self


def _weight(term: Term) -> Any:
    meaning = f"{term.meaning}, in training; evaluations keep the default"
    return key(term.default, meaning, throughput=True, ge=term.low, le=term.high)


RewardSettings = create_model(
    "RewardSettings", __base__=Section, **{name: (float, _weight(term)) for name, term in REWARDS.items()}
)
"""A key for the weight of every term of the reward."""


class WorldSettings(RewardSettings):
    """The worlds in which robots train."""

    training_schedule: TrainingSchedule = key(..., "curriculum: equally long lists, see below")
    num_envs: int = key(1, "environments stepped side by side", throughput=True, ge=1, le=1_000_000)
    backend: Literal["numpy", "torch"] = key(
        "numpy", "world: NumPy reference or tensors on the device", throughput=True
    )
    stage_mix: bool = key(False, "spread the environments over all stages of the curriculum", throughput=True)

    @property
    def rewards(self) -> dict[str, float]:
        """Weights of the terms of the reward."""
        return {name: getattr(self, name) for name in REWARDS}

    @model_validator(mode="after")
    def _mixable(self) -> "WorldSettings":
        if self.stage_mix and self.backend != "torch":
            raise ValueError("key 'stage_mix': true needs 'backend' \"torch\"")
        if self.stage_mix and self.num_envs < len(self.training_schedule):
            raise ValueError(
                f"key 'stage_mix': true needs an environment for each stage; 'num_envs' is {self.num_envs}, "
                f"'training_schedule' has {len(self.training_schedule)} stages"
            )
        return self


class ReplaySettings(Section):
    """What is kept, where, and how it is drawn."""

    buffer_size: int = key(1_000_000, "transitions the replay memory holds", ge=2, le=10**10)
    batch_size: int = key(64, "transitions of a gradient update", ge=1, le=1_000_000)
    prioritized_replay: bool = key(
        False, "draw transitions by their last loss, as Rainbow always does", throughput=True
    )
    priority_exponent: float = key(
        0.5, "prioritised replay: priority is the loss to this power", legacy=False, ge=0, le=1
    )
    priority_weight: float = key(
        0.4, "prioritised replay: importance weights are corrected to this power", legacy=False, ge=0, le=1
    )
    replay_device: Literal["auto", "cpu", "cuda"] = key(
        "auto", "where the replay memory is; `auto` is the training device", throughput=True
    )
    bootstrap_on_timeout: bool = key(
        False,
        "bootstrap where an episode was cut off, instead of treating it as terminal",
        throughput=True,
    )

    @model_validator(mode="after")
    def _larger_than_a_batch(self) -> "ReplaySettings":
        if self.buffer_size <= self.batch_size:
            raise ValueError(
                f"key 'buffer_size': {self.buffer_size} must be above 'batch_size', {self.batch_size}"
            )
        return self


class PolicySettings(Section):
    """How robots act while they train."""

    observation_scale: bool = key(
        False,
        "scale observations to about 1; folded into the weights when a model is saved",
        throughput=True,
    )
    action_noise: float = key(
        0.0, "standard deviation of Gaussian noise on continuous actions", throughput=True, ge=0, le=1
    )
    exploring_envs: float = key(
        1.0,
        "share of the environments whose robots explore; in the others all act as in evaluations",
        throughput=True,
        gt=0,
        le=1,
    )


class EvaluationSettings(Section):
    """What is evaluated, on which episodes, and what is kept of it."""

    eval_schedule: EvalSchedule = key(..., "evaluation episodes: equally long lists, see below")
    eval_seed: Seed = key(
        253,
        "seed of the evaluation episodes; another one keeps reported episodes out of the choice of a model",
        throughput=True,
    )
    record_histories: bool = key(
        True,
        "keep observations, actions and trajectories of evaluations; without them large ones stay cheap",
        throughput=True,
    )
    average_tau: float = key(
        1.0,
        "share of the latest weights, at each update, in the average that is evaluated and saved; 1: none",
        throughput=True,
        gt=0,
        le=1,
    )


class WatchSettings(Section):
    """Watching and trusting a run."""

    logger: Literal["csv", "tensorboard", "wandb"] = key(
        "csv", "where scalars go; CSV is always written", legacy=False
    )
    checkpoint_every: int = key(
        0,
        "timesteps between two full checkpoints; 0: only on interruption",
        legacy=False,
        ge=0,
        le=LONGEST,
    )
    checkpoint_keep: int = key(2, "full checkpoints kept", legacy=False, ge=1, le=1000)


SECTIONS: dict[str, type[Section]] = {
    "run": RunSettings,
    "world": WorldSettings,
    "schedule": Schedule,
    "replay": ReplaySettings,
    "policy": PolicySettings,
    "learner": LearnerSettings,
    "evaluation": EvaluationSettings,
    "watch": WatchSettings,
}
"""Sections of a trial, in the order of the reference; a learner has a class of its own in its place."""

SCHEDULES = ("training_schedule", "eval_schedule")
"""Keys whose lists are no sweeps."""

ONLY: dict[str, Callable[[type["Learner"]], bool]] = {
    "action_noise": lambda learner: learner.continuous,
    "prioritized_replay": lambda learner: not learner.prioritized,
}
"""Keys that have no effect on some learners, which are taken not to have them."""

GONE = {"n_step_streams": "each robot's own stream is followed outside reproduction mode; leave it out"}
"""Keys of older versions, with what became of them."""


@cache
def learners() -> dict[str, type["Learner"]]:
    """Every learner by its name."""
    from agents.learners import LEARNERS  # here: torch takes seconds, and help and version need no learner

    return LEARNERS


@cache
def keys_of(agent_type: str) -> dict[str, Any]:
    """The keys that a learner's trials have, with pydantic's description of each."""
    learner = learners()[agent_type]
    sections = {**SECTIONS, "learner": learner.Settings}.values()
    return {
        name: field
        for section in sections
        for name, field in section.model_fields.items()
        if name not in ONLY or ONLY[name](learner)
    }


@cache
def owners() -> dict[str, list[str]]:
    """Every key, with the names of the learners that have it."""
    found: dict[str, list[str]] = {name: [] for section in SECTIONS.values() for name in section.model_fields}
    for agent_type in learners():
        for name in keys_of(agent_type):
            found.setdefault(name, []).append(agent_type)
    return found
