"""The vector face of Gymnasium: the rows of E tensor worlds of R robots, on any device."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from marinenav_env.envs import rows

Result = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class MarineNavVectorEnv(VectorEnv):
    """E x R vessels as ``num_envs`` environments with one policy; row ``e * R + r`` is robot r of world e.

    Spaces of a row are those of `MarineNavGymnasiumEnv`. A world starts anew within the step in which its
    last vessel ends (`AutoresetMode.SAME_STEP`); what was last seen is ``infos["final_obs"]`` where
    ``infos["_final_obs"]``. A vessel that ends before is terminated once; its row then has zero observations
    and rewards until the world starts anew, where it is truncated. ``infos["active"]`` is false where a row
    of this step is no vessel's own: leave these out of a loss.

    Args:
        worlds: E.
        **settings: of `MarineNavTorchRLEnv`, with ``device`` and ``compile``.

    Raises:
        ValueError, TypeError: for a setting that is not allowed, naming it.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, worlds: int = 1, **settings: Any) -> None:
        self._env = rows.new_world(worlds, settings, "torch")
        self._continuous = self._env.world.continuous
        self._rows = (worlds, self._env.max_robots)
        self.num_envs = worlds * self._env.max_robots
        self.single_observation_space = rows.OBSERVATION_SPACE
        self.single_action_space = rows.action_space(self._continuous)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all worlds, with the draws of `seed` if that is given; float32 (E R, 37)."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.set_seed(int(seed))
        return self._begin(None), {"active": self._active.copy()}

    def step(self, actions: np.ndarray) -> Result:
        """Move all vessels by 0.5 s; actions (E R, 2) or (E R,)."""
        kind = np.float32 if self._continuous else np.int64
        action = torch.as_tensor(np.asarray(actions, dtype=kind)).reshape(*self._rows, *actions.shape[1:])
        robots, flags = self._env.world.step(action)
        seen, reward = self._flat(rows.observations(robots)), self._flat(rows.column(robots, "reward"))
        infos = {"active": self._active.copy(), "outcome": self._flat(rows.column(robots, "outcome"))}
        ended = np.repeat(flags["done"][:, 0].cpu().numpy(), self._rows[1])
        terminated = self._flat(rows.column(robots, "terminated")) & self._active
        self._active = self._flat(rows.column(robots, "active"))
        if ended.any():
            infos |= {"final_obs": seen, "_final_obs": ended}
            seen = np.where(ended[:, None], self._begin(flags["done"]), seen)
        return seen, reward.astype(np.float64), terminated, ended & ~terminated, infos

    def _begin(self, mask: torch.Tensor | None) -> np.ndarray:
        robots, _ = self._env.world.reset(mask)
        self._active = self._flat(rows.column(robots, "active"))
        return self._flat(rows.observations(robots))

    def _flat(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self.num_envs, *array.shape[2:])
