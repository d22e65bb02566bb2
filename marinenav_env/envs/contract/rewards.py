"""Weighted terms of the reward: attributes of a world, entries of an episode file and keys of a config.

A world gives the rest of the term its meaning: `MarineNavEnv3` one robot at a time, `world_step` on tensors.
Progress towards the goal (m) is the one term without a weight (environment spec 10).
"""

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import NamedTuple

from marinenav_env.envs.contract.stage import Stage


class Term(NamedTuple):
    """Weight of one term of the reward; `low` and `high` bound what a config may give."""

    default: float  # the legacy world's; 0, which switches the term off, where that lacks it
    meaning: str  # what the weight is multiplied with, for the reference of keys
    low: float
    high: float
    legacy: bool = False  # whether every episode file holds it; others take the default


REWARDS = {
    "timestep_penalty": Term(-0.1, "reward of every step", -1000, 0, legacy=True),
    "COLREGs_penalty": Term(
        -0.1, "reward per radian of the starboard turn that the traffic rules ask for", -1000, 0, legacy=True
    ),
    "collision_penalty": Term(-5.0, "reward of a collision", -1000, 0, legacy=True),
    "goal_reward": Term(10.0, "reward of arriving", 0, 1000, legacy=True),
    "thrust_change_penalty": Term(0.0, "reward per kN that the two thrusts change in a step", -1000, 0),
    "closeness_penalty": Term(
        0.0, "reward of touching the nearest object in sight; less farther off, none from 5 m on", -1000, 0
    ),
}
"""Terms by the name of their weight, in the order of an episode file."""

LATER = tuple(name for name, term in REWARDS.items() if not term.legacy)
"""Terms that the legacy world lacks."""

CLOSE = 5.0
"""Gap (m) between two discs within which `closeness_penalty` counts."""

DEFAULT_REWARDS = {name: term.default for name, term in REWARDS.items()}
"""Weights of a new world."""


def reward_weights(given: Mapping[str, float]) -> dict[str, float]:
    """Weights of all terms: those given, else the defaults.

    Raises:
        TypeError: there is no such term.
        ValueError: a weight is no finite number.
    """
    for name, value in given.items():
        if name not in REWARDS:
            like = get_close_matches(name, (*Stage._fields, *REWARDS), n=1)
            hint = f" (did you mean {like[0]!r}?)" if like else ""
            raise TypeError(f"unknown argument {name!r}{hint}; of rewards allowed are {', '.join(REWARDS)}")
        if not (isinstance(value, (int, float)) and isfinite(value)):
            raise ValueError(f"{name} is {value!r}; allowed are finite numbers")
    return {**DEFAULT_REWARDS, **given}
