"""Invalid actions: refused at once where the host knows the numbers, else when it next looks."""

import numpy as np
import torch
from torch import Tensor


class Refusals:
    """Which robots, int32 [R, E], were given an invalid action since the last `check`."""

    def __init__(self, shape: tuple[int, int], continuous: bool, device: torch.device) -> None:
        self._allowed = "two finite numbers" if continuous else "0 to 24"
        self._on_cpu = device.type == "cpu"
        self._refused = torch.zeros(shape, dtype=torch.int32, device=device)

    def add(self, refused: Tensor) -> None:
        """Those of a step; ValueError if there are any and the host knows."""
        if torch.compiler.is_compiling() or not self._on_cpu:
            self._refused = self._refused | refused
        elif np.count_nonzero(refused.numpy()):  # half the time of `any`
            self._refuse(refused)

    def check(self) -> None:
        """ValueError if there were any, naming the first environment and its robot; waits for the device."""
        if bool(self._refused.any()):
            refused, self._refused = self._refused, torch.zeros_like(self._refused)
            self._refuse(refused)

    def _refuse(self, refused: Tensor) -> None:
        env, robot = refused.T.nonzero()[0].tolist()
        place = f"robot {robot} in environment {env}"
        raise ValueError(f"action of {place} is invalid; allowed are {self._allowed}")
