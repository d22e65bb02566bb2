"""Rows of robots as plain arrays: what the faces for PettingZoo and Gymnasium share.

A robot's observation is one float32 array of `OBSERVATION_SIZE` numbers in SI units, not scaled: own
state (7), objects (5 x 5, row by row), mask of the objects (5), in the order of `contract.layout`.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from marinenav_env.envs.contract.constants import NUM_ACTIONS
from marinenav_env.envs.contract.layout import OBSERVATION_KEYS, OBSERVATION_SIZE
from marinenav_env.envs.torchrl_gpu.env import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.specs import Tensors

DTYPE = np.float32
OBSERVATION_SPACE = spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,), DTYPE)

RENDERING = {"render_modes": ["rgb_array"], "render_fps": 2}  # a step is half a second


def check_render_mode(mode: str | None) -> None:
    """Check what a user asks for: None or one of those in `RENDERING`; else ValueError."""
    modes = RENDERING["render_modes"]
    if mode not in (None, *modes):
        raise ValueError(f"render_mode is {mode!r}; allowed are None and {', '.join(map(repr, modes))}")


def action_space(continuous: bool) -> spaces.Space:
    """Two thrust change commands, or one of 25 indices."""
    return spaces.Box(-1.0, 1.0, (2,), DTYPE) if continuous else spaces.Discrete(NUM_ACTIONS)


def observations(robots: Tensors) -> np.ndarray:
    """Observations of all robots, float32 (E, R, 37)."""
    parts = [robots[key].flatten(2).to(torch.float32) for key in OBSERVATION_KEYS]
    return torch.cat(parts, 2).cpu().numpy()


def column(robots: Tensors, key: str) -> np.ndarray:
    """One number of all robots, (E, R)."""
    return robots[key][..., 0].cpu().numpy()


def new_world(num_envs: int, settings: dict[str, Any], backend: str) -> MarineNavTorchRLEnv:
    """The environment of these settings; ValueError or TypeError as its constructor raises them."""
    for name in ("num_envs", "backend", "dtype"):
        if name in settings:
            raise TypeError(f"{name} is given as {settings[name]!r}; allowed here are the other settings")
    return MarineNavTorchRLEnv(num_envs, backend=backend, **settings)
