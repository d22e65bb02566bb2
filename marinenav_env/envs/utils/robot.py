"""The import path of the legacy code; the robot itself is in :mod:`marinenav_env.envs.reference.robot`."""

from marinenav_env.envs.reference.perception import Perception
from marinenav_env.envs.reference.robot import Robot

__all__ = ["Perception", "Robot"]
