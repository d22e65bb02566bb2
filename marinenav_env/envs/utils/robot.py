"""The import path of the legacy code; the robot itself is in :mod:`marinenav_env.envs.reference.robot`."""

from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.sensor import Perception

__all__ = ["Perception", "Robot"]
