"""The Gymnasium face: one vessel of a reference world learns, a policy drives the others."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch

from marinenav_env.envs import rows
from marinenav_env.envs.contract.layout import OBSERVATION_FIELDS
from marinenav_env.envs.contract.outcome import Outcome

Act = Callable[[tuple[list[float], list[list[float]]]], Any]


class MarineNavGymnasiumEnv(gymnasium.Env):
    """Vessel 0 of one `MarineNavEnv3`; its episode ends when it collides, arrives or is cut off.

    An observation is a float32 array (37,), see `rows`; an action two commands in [-1, 1], float32, or with
    ``continuous=False`` an index of 25. ``info["outcome"]`` is what the step meant, an `Outcome` as a number.

    Args:
        others: what drives the other vessels: given ``(own state, objects)`` of one, its action, as
            ``load_policy(folder).act``. Without it there is one vessel.
        render_mode: None, or "rgb_array" for pictures of `render`, uint8 (256, 256, 3).
        **settings: of `MarineNavTorchRLEnv`; ``num_robots`` is 1 by default.

    Raises:
        ValueError, TypeError: for a setting that is not allowed, naming it.
    """

    metadata = rows.RENDERING

    def __init__(self, others: Act | None = None, render_mode: str | None = None, **settings: Any) -> None:
        rows.check_render_mode(render_mode)
        if settings.get("schedule") is None:
            settings.setdefault("num_robots", 1)
        self._env = rows.new_world(1, settings, "numpy")
        if others is None and self._env.max_robots > 1:
            raise ValueError(f"others is None; with up to {self._env.max_robots} robots a policy is needed")
        self.render_mode, self._others = render_mode, others
        self._continuous = self._env.world.continuous
        self.observation_space = rows.OBSERVATION_SPACE
        self.action_space = rows.action_space(self._continuous)

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode, of the stream of `seed` if that is given."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.set_seed(int(seed))
        self._robots, _ = self._env.world.reset()
        return rows.observations(self._robots)[0, 0], {"outcome": int(Outcome.NORMAL)}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move all vessels by 0.5 s: observation, reward, terminated, truncated, info of vessel 0."""
        actions = [action, *map(self._driven, range(1, self._env.max_robots))]
        if self._continuous:
            laid_out = torch.tensor(np.array(actions, dtype=np.float32))
        else:
            laid_out = torch.tensor([int(index) for index in actions])
        self._robots, _ = self._env.world.step(laid_out[None])
        reward, terminated, outcome = (
            rows.column(self._robots, key)[0, 0] for key in ("reward", "terminated", "outcome")
        )
        truncated = bool(outcome == Outcome.TOO_LONG_EPISODE)
        info = {"outcome": int(outcome)}
        return rows.observations(self._robots)[0, 0], float(reward), bool(terminated), truncated, info

    def render(self) -> np.ndarray | None:
        """The world from above, see `MarineNavTorchRLEnv.render`; None unless ``render_mode`` asks for it."""
        return self._env.render()[0] if self.render_mode else None

    def _driven(self, row: int) -> Any:
        robots = {key: value[0, row] for key, value in self._robots.items()}
        if not robots["active"]:
            return (0.0, 0.0) if self._continuous else 0
        seen = {**robots, "objects_state": robots["objects_state"][robots["objects_mask"]]}
        return self._others(tuple(seen[key].tolist() for key in OBSERVATION_FIELDS))
