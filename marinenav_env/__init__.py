"""The world: vessels, vortices, obstacles, sensors.

Where Gymnasium is installed, ``gymnasium.make("MarineNav-v3")`` knows it from here on.
"""

from contextlib import suppress

with suppress(ImportError):  # it is not there, or one too old to have a registry
    from marinenav_env import registration as registration
