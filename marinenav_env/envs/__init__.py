"""Worlds and their building blocks."""

from marinenav_env.envs.marinenav_env import MarineNavEnv3

__all__ = ["MarineNavEnv3"]
