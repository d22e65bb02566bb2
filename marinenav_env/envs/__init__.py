"""Worlds and their building blocks."""

from marinenav_env.envs.reference.world import MarineNavEnv3

__all__ = ["MarineNavEnv3"]
