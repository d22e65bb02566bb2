"""What a step meant for a robot: the legacy ``info["state"]`` texts as numbers, and the flags they imply."""

from enum import IntEnum
from typing import TypeVar

Array = TypeVar("Array")


class Outcome(IntEnum):
    """State of one robot after a step, in the order of the legacy texts (environment spec 10).

    ``ABSENT`` marks the rows of the robot axis that the scenario does not use.
    """

    NORMAL = 0
    COLLISION = 1
    REACH_GOAL = 2
    DEACTIVATED_AFTER_COLLISION = 3
    DEACTIVATED_AFTER_REACHING_GOAL = 4
    TOO_LONG_EPISODE = 5
    ABSENT = 6


OUTCOME_OF_STATE = {
    "normal": Outcome.NORMAL,
    "collision": Outcome.COLLISION,
    "reach goal": Outcome.REACH_GOAL,
    "deactivated after collision": Outcome.DEACTIVATED_AFTER_COLLISION,
    "deactivated after reaching goal": Outcome.DEACTIVATED_AFTER_REACHING_GOAL,
    "too long episode": Outcome.TOO_LONG_EPISODE,
}
STATE_OF_OUTCOME = {outcome: state for state, outcome in OUTCOME_OF_STATE.items()}

# Plain numbers: NumPy compares with members of an enumeration three times slower.
_FIRST_ENDED, _LAST_ENDED = int(Outcome.COLLISION), int(Outcome.DEACTIVATED_AFTER_REACHING_GOAL)
_CUT_OFF, _ABSENT = int(Outcome.TOO_LONG_EPISODE), int(Outcome.ABSENT)


def ending_flags(outcome: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Done flags of robots and environments; they follow from the outcomes (int8, (E, R, 1)) alone.

    Bool, NumPy or torch as given: ``terminated``, ``done`` of robots (E, R, 1); ``terminated``,
    ``truncated``, ``done`` of environments (E, 1). A robot terminates by collision or arrival and stays
    terminated; on the cut-off step it is done but not terminated, whatever else happened to it (environment
    spec 12, Quirk W23). An environment terminates when its last robot has, and is truncated by the cut-off.
    """
    terminated = (outcome >= _FIRST_ENDED) & (outcome <= _LAST_ENDED)
    truncated = (outcome == _CUT_OFF).any(1)
    all_terminated = (terminated | (outcome == _ABSENT)).all(1)
    robots = {"terminated": terminated, "done": terminated | truncated[:, None]}
    return robots, {"terminated": all_terminated, "truncated": truncated, "done": all_terminated | truncated}
