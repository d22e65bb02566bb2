"""Stages of trainings and evaluations, as a config lists them."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import Field, WrapValidator, model_validator

from agents.settings import Section, key
from marinenav_env.envs.contract.stage import COLUMNS, stages_of
from marinenav_env.envs.reference.scenario import room_for
from torchrl_gpu.learn.schedule import LONGEST

MOST_THINGS = 100
"""Robots, vortices or obstacles: more than the area has room for."""
DIAGONAL = 72
"""Metres from corner to corner of the area in which robots start."""

Item = TypeVar("Item")
Column = Annotated[list[Item], Field(min_length=1)]


def _as_written(value: Any, checked: Callable[[Any], float]) -> float:
    """Whole metres stay whole: the legacy reports print 30, not 30.0."""
    number = checked(value)
    return value if isinstance(value, int) else number


Distance = Annotated[float, Field(ge=0, le=DIAGONAL), WrapValidator(_as_written)]
Things = Annotated[int, Field(ge=0, le=MOST_THINGS)]


class Stages(Section):
    """Equally long lists, an entry for each stage."""

    num_robots: Column[Annotated[int, Field(ge=1, le=MOST_THINGS)]] = key(..., "robots")
    num_cores: Column[Things] = key(..., "vortices")
    num_obstacles: Column[Things] = key(..., "static obstacles")
    min_start_goal_dis: Column[Distance] = key(..., "least distance from start to goal in m")

    @model_validator(mode="after")
    def _equally_long(self) -> "Stages":
        lengths = {name: len(column) for name, column in self}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"its lists must be equally long, got {listed}")
        return self

    @model_validator(mode="after")
    def _placeable(self) -> "Stages":
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
