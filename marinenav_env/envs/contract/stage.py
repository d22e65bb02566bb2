"""Scenarios and schedules: dictionaries of equally long lists, one entry a stage (environment spec 5).

A curriculum has the lists ``timesteps`` (from which a stage holds) and `COLUMNS`; a schedule of evaluations
has ``num_episodes`` instead of ``timesteps``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Schedule = Mapping[str, Sequence[Any]]


class Stage(NamedTuple):
    """Numbers of things, and the least distance from start to goal (m); attributes of `MarineNavEnv3`."""

    num_robots: int = 6
    num_cores: int = 8
    num_obs: int = 8
    min_start_goal_dis: float = 30.0


LEAST = Stage(1, 0, 0, 0)
"""What a scenario may ask for at least."""

COLUMNS = ("num_robots", "num_cores", "num_obstacles", "min_start_goal_dis")
"""Lists of a schedule that make its stages, in the order of the fields of a `Stage`."""
CURRICULUM_KEYS = ("timesteps", *COLUMNS)
"""Lists of a curriculum."""


def stage_of(schedule: Schedule, index: int) -> Stage:
    """The stage of one index of a schedule's lists."""
    return Stage(*(schedule[key][index] for key in COLUMNS))


def stages_of(schedule: Schedule) -> list[Stage]:
    """All stages of a schedule."""
    return [stage_of(schedule, index) for index in range(len(schedule[COLUMNS[0]]))]


def stage_index(schedule: Schedule, timesteps: int) -> int:
    """Index of the stage after `timesteps`. Quirk W10: -1, the last one, before the first threshold."""
    return sum(start <= timesteps for start in schedule["timesteps"]) - 1


def check_curriculum(schedule: Schedule) -> None:
    """Check that a curriculum has stages, each with robots.

    Raises:
        ValueError: a list is missing or of another length than the others, or a stage has no robot.
    """
    if missing := [key for key in CURRICULUM_KEYS if key not in schedule]:
        raise ValueError(f"schedule lacks {missing}; required are {list(CURRICULUM_KEYS)}")
    lengths = {key: len(schedule[key]) for key in CURRICULUM_KEYS}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"schedule lists have lengths {lengths}; allowed are equal lengths of 1 and more")
    if (fewest := min(schedule["num_robots"])) < 1:
        raise ValueError(f"schedule has {fewest} in 'num_robots'; allowed are 1 and more")


def stage_given(schedule: Schedule | None, *given: float | None) -> Stage:
    """The stage of a world: what is given of the fields, in order, else the default; see `check_asked`."""
    named = dict(zip(Stage._fields, given, strict=True))
    chosen = {name: value for name, value in named.items() if value is not None}
    check_asked(schedule, chosen)
    return Stage(**chosen)


def check_asked(schedule: Schedule | None, asked: Mapping[str, float]) -> None:
    """Check fields of a stage that a user asks a world for.

    Raises:
        ValueError: a number is too small, or given beside a schedule, which decides.
    """
    for name, value in asked.items():
        if schedule is not None:
            raise ValueError(f"{name} is given as {value}; allowed is what the schedule says")
        if not value >= (least := getattr(LEAST, name)):
            raise ValueError(f"{name} is {value}; allowed are {least} and more")
