"""One evaluation episode as moving pictures, for those who watch a run."""

from collections.abc import Iterator

import numpy as np
import torch

from agents.agent import Agent
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.torchrl_gpu.picture import picture, views_of_tensors
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from torchrl_gpu.evaluation.tally import greedy_actions
from torchrl_gpu.seeding import EVAL_SEED, separate_draws

SIDE = 192
"""Pixels."""
STEPS = 2
"""Steps (of half a second) from picture to picture."""
PER_SECOND = 8
"""Pictures that are shown in a second: eight times as fast as it was."""


class Film:
    """Callable that plays an episode with the agent's local networks, greedily, in the world of tensors.

    It ends as an evaluated one: at the first collision, or when all vessels are out of the water. Its draws
    are its own, so that a run is the same with and without it. Who calls it does so after every `every`-th
    evaluation.
    """

    def __init__(self, agent: Agent, episode: dict, every: int, device: torch.device | str = "cpu") -> None:
        self.agent, self.every = agent, every
        robots = episode["env"]["num_robots"]
        self.world = VectorWorld(1, robots, continuous=agent.continuous, device=device, seed=EVAL_SEED)
        self.world.load([episode])
        self._start = self.world.state, self.world.observation

    @torch.no_grad()
    def __call__(self) -> np.ndarray:
        """Pictures, uint8 (T, side, side, 3): the start, every second step, the end."""
        self.world.state, self.world.observation = self._start
        self.world.seed(EVAL_SEED + 1)
        with separate_draws(EVAL_SEED, self.world.device), self.agent.learner.acting_mode(use_eval=True):
            return np.stack(list(self._pictures()))

    def _pictures(self) -> Iterator[np.ndarray]:
        for step in range(EPISODE_LIMIT + 2):
            state = self.world.state
            ended = step > EPISODE_LIMIT or bool(state.collision.any() or not state.active.any())
            if ended or step % STEPS == 0:
                yield picture(next(views_of_tensors(self.world)), SIDE)
            if ended:
                return
            self.world.advance(greedy_actions(self.agent, self.world.observation, state.active.bool()))
