"""The import path of the legacy code; the world itself is in :mod:`marinenav_env.envs.reference.world`."""

from marinenav_env.envs.reference.current import Core
from marinenav_env.envs.reference.scenario import Obstacle
from marinenav_env.envs.reference.world import MarineNavEnv3

__all__ = ["Core", "MarineNavEnv3", "Obstacle"]
