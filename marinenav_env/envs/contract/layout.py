"""What a robot observes: the one place that names, sizes and scales its numbers.

Both worlds, the specs, the rows of the replay, the networks, the observation scale and the recorder read it.
"""

from math import prod
from typing import NamedTuple


class Field(NamedTuple):
    """One number of an observation."""

    scale: float  # factor that brings it to about 1 (see `torchrl_gpu.learn.scale`)
    unit: str  # in the robot frame (forward, starboard)


SELF = {
    "goal_x": Field(1 / 20, "m"),
    "goal_y": Field(1 / 20, "m"),
    "surge": Field(1 / 2, "m/s"),
    "sway": Field(1 / 2, "m/s"),
    "yaw_rate": Field(1 / 2, "rad/s"),
    "left_thrust": Field(1 / 1000, "N"),
    "right_thrust": Field(1 / 1000, "N"),
}
"""A robot's own state."""

OBJECT = {
    "x": Field(0.3, "m"),
    "y": Field(0.3, "m"),
    "vx": Field(1.5, "m/s"),
    "vy": Field(1.5, "m/s"),
    "radius": Field(1.5, "m"),
}
"""One observed object.

Its scales are larger than 1 where it is far away: within the metre that decides over a collision a network
must still tell positions apart. A third of them learned to avoid collisions later and less.
"""

OBJECT_ROWS = 5
"""Objects observed at most, nearest first; missing ones are zero rows."""

GROUP = "agents"
"""TorchRL group of the robots."""

SELF_SIZE = len(SELF)
OBJECT_SIZE = len(OBJECT)

OBSERVATION_FIELDS = {"self_state": SELF, "objects_state": OBJECT}
"""What the numbers along the last axis of a part of an observation are; the other parts are flags."""

OBSERVATION_SHAPES = {
    "self_state": (SELF_SIZE,),
    "objects_state": (OBJECT_ROWS, OBJECT_SIZE),
    "objects_mask": (OBJECT_ROWS,),
}
"""Keys of an observation in their order, and the shape of each."""

OBSERVATION_FLAGS = tuple(key for key in OBSERVATION_SHAPES if key not in OBSERVATION_FIELDS)
"""Those that are true or false."""

OBSERVATION_KEYS = tuple(OBSERVATION_SHAPES)
"""Names of the parts of an observation, in the order of a network's input."""

FURTHER_KEYS = OBSERVATION_KEYS[3:]
"""Those that the legacy layout lacks: none yet. They have one axis."""

OBSERVATION_PARTS = tuple(prod(shape) for shape in OBSERVATION_SHAPES.values())
"""Numbers of each part, flat."""

OBSERVATION_SIZE = sum(OBSERVATION_PARTS)
"""Numbers of an observation."""


def _scales(key: str) -> list[float]:
    shape, fields = OBSERVATION_SHAPES[key], OBSERVATION_FIELDS.get(key)
    if fields is None:
        return [1.0] * prod(shape)  # 0 or 1 already
    return [field.scale for field in fields.values()] * prod(shape[:-1])


OBSERVATION_SCALES = tuple(scale for key in OBSERVATION_KEYS for scale in _scales(key))
"""Scales of the numbers of an observation, flat."""
