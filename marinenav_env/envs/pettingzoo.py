"""The PettingZoo face: one reference world, vessels as agents that leave when they collide or arrive."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv

from marinenav_env.envs import rows
from marinenav_env.envs.contract.outcome import Outcome

ByAgent = dict[str, Any]


class MarineNavParallelEnv(ParallelEnv):
    """One `MarineNavEnv3` as a `ParallelEnv`; agents are ``robot_0``, ``robot_1``, ...

    An observation is a float32 array (37,), see `rows`; an action two commands in [-1, 1], float32, or with
    ``continuous=False`` an index of 25. A vessel that collides or arrives is terminated, one that is still in
    the water at the 1001st step truncated. ``infos[agent]["outcome"]`` is an `Outcome`, as a number.

    Args:
        render_mode: None, or "rgb_array" for pictures of `render`, uint8 (256, 256, 3).
        **settings: of `MarineNavTorchRLEnv`, as ``num_robots=3`` or ``collision_penalty=-10.0``.

    Raises:
        ValueError, TypeError: for a setting that is not allowed, naming it.
    """

    metadata = {"name": "marinenav_v3", **rows.RENDERING, "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        rows.check_render_mode(render_mode)
        self.render_mode = render_mode
        self._env = rows.new_world(1, settings, "numpy")
        self._continuous = self._env.world.continuous
        self.possible_agents = [f"robot_{i}" for i in range(self._env.max_robots)]
        self.agents: list[str] = []
        # one object for each agent and all calls: they carry the seed of their samples
        self.observation_spaces = dict.fromkeys(self.possible_agents, rows.OBSERVATION_SPACE)
        self.action_spaces = {agent: rows.action_space(self._continuous) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> spaces.Space:
        """Space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """Space of an agent's actions."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[ByAgent, ByAgent]:
        """Begin an episode, of the stream of `seed` if that is given; observations and infos by agent."""
        if seed is not None:
            self._env.set_seed(int(seed))
        robots, _ = self._env.world.reset()
        self.agents = self._named(rows.column(robots, "active"))
        return self._of_agents(rows.observations(robots)), self._infos(robots)

    def step(self, actions: ByAgent) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Move all agents by 0.5 s: observations, rewards, terminations, truncations, infos by agent.

        Raises:
            KeyError: an agent has no action.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        robots, _ = self._env.world.step(self._laid_out(actions))
        values = [
            self._of_agents(array)
            for array in (
                rows.observations(robots),
                rows.column(robots, "reward").astype(float),
                rows.column(robots, "terminated"),
                rows.column(robots, "outcome") == Outcome.TOO_LONG_EPISODE,
            )
        ]
        infos = self._infos(robots)
        ended = rows.column(robots, "done")
        self.agents = [agent for agent in self.agents if not ended[0, self._row(agent)]]
        return *values, infos

    def render(self) -> np.ndarray | None:
        """The world from above, see `MarineNavTorchRLEnv.render`; None unless ``render_mode`` asks for it."""
        return self._env.render()[0] if self.render_mode else None

    def close(self) -> None:
        """Nothing to give back."""

    def _row(self, agent: str) -> int:
        return self.possible_agents.index(agent)

    def _named(self, active: np.ndarray) -> list[str]:
        return [agent for agent in self.possible_agents if active[0, self._row(agent)]]

    def _of_agents(self, array: np.ndarray) -> ByAgent:
        return {agent: array[0, self._row(agent)] for agent in self.agents}

    def _infos(self, robots: rows.Tensors) -> ByAgent:
        outcomes = self._of_agents(rows.column(robots, "outcome"))
        return {agent: {"outcome": int(outcome)} for agent, outcome in outcomes.items()}

    def _laid_out(self, actions: ByAgent) -> torch.Tensor:
        size = (2,) if self._continuous else ()
        action = torch.zeros(
            1, len(self.possible_agents), *size, dtype=torch.float32 if size else torch.int64
        )
        for agent in self.agents:
            action[0, self._row(agent)] = torch.as_tensor(actions[agent])
        return action


def parallel_env(**settings: Any) -> MarineNavParallelEnv:
    """The environment, as PettingZoo's own modules give theirs; see `MarineNavParallelEnv`.

    Example:
        >>> env = parallel_env(num_robots=3, num_cores=0)
        >>> observations, infos = env.reset(seed=0)
        >>> observations["robot_0"].shape
        (37,)
    """
    return MarineNavParallelEnv(**settings)
