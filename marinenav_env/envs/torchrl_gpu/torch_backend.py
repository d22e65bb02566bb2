"""`VectorWorld` behind the face of `MarineNavTorchRLEnv`: the fast backend."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from marinenav_env.envs.contract.outcome import Outcome, ending_flags
from marinenav_env.envs.torchrl_gpu.specs import Tensors
from marinenav_env.envs.torchrl_gpu.state import Observation
from marinenav_env.envs.torchrl_gpu.world import VectorWorld


class TorchBackend:
    """Turns the world's structure of arrays, environments last, into the rows of the schema and back.

    The tensors given out are views with the axes turned; nothing writes into them later, as the world makes
    new ones at every call.

    Args:
        num_envs: environments E.
        max_robots: robot rows R.
        seed: of all draws of the world.
        schedule: legacy curriculum, or None.
        is_eval_env: must be False: tensors keep no histories.
        continuous: thrust change commands, or indices of actions.
        dtype: float32 or float64, of the world.
        device: of the world.

    Raises:
        ValueError: if `is_eval_env` is set.
    """

    def __init__(
        self,
        num_envs: int,
        max_robots: int,
        *,
        seed: int,
        schedule: dict | None,
        is_eval_env: bool,
        continuous: bool,
        dtype: torch.dtype,
        device: torch.device,
    ):
        if is_eval_env:
            raise ValueError("is_eval_env=True needs backend='numpy'; the 'torch' backend keeps no histories")
        self.world = VectorWorld(
            num_envs,
            max_robots,
            schedule=schedule,
            continuous=continuous,
            device=device,
            dtype=dtype,
            seed=seed,
        )
        self._outcome = torch.full((max_robots, num_envs), Outcome.ABSENT, dtype=torch.int8, device=device)

    @property
    def total_timesteps(self) -> int:
        """Steps of all environments together since construction; it selects the curriculum stage."""
        return self.world.total_timesteps

    @total_timesteps.setter
    def total_timesteps(self, value: int) -> None:
        self.world.total_timesteps = value

    @property
    def collision_penalty(self) -> float:
        """Reward of a collision."""
        return self.world.collision_penalty

    @collision_penalty.setter
    def collision_penalty(self, value: float) -> None:
        self.world.collision_penalty = value

    def get(self, name: str) -> Any:
        """What the next scenario asks for, by its legacy name."""
        return getattr(self.world.stage, name)

    def set(self, name: str, value: Any) -> None:
        """Ask for something else from the next reset on."""
        self.world.set_scenario(self.world.stage._replace(**{name: value}))

    def set_stage(self, stage: int | Sequence[int] | Tensor | None) -> None:
        """Pin environments to stages of the schedule; see `VectorWorld.set_stage`."""
        self.world.set_stage(stage)

    def seed(self, seed: int) -> None:
        """Start all draws anew."""
        self.world.seed(seed)

    def compile(self, **kwargs: Any) -> None:
        """Compile the step with arguments of `torch.compile`."""
        self.world.compile(**kwargs)

    def reset(self, mask: Tensor | None) -> tuple[Tensors, Tensors]:
        """Start new episodes where `mask` (E, 1) says, everywhere without one.

        Returns:
            The robots' tensors and the environments' flags, of all environments.
        """
        chosen = self._chosen(mask)
        observation = self.world.reset(chosen)
        outcome = self._outcome_at_start()
        self._outcome = outcome if chosen is None else torch.where(chosen, outcome, self._outcome)
        return self._tensors(observation)

    def reset_with_eval_configs(self, episodes: list[dict]) -> tuple[Tensors, Tensors]:
        """Start environment k from the k-th episode dictionary; returns as `reset`."""
        observation = self.world.load(episodes)
        self._outcome = self._outcome_at_start()
        return self._tensors(observation)

    def step(self, action: Tensor, mask: Tensor | None) -> tuple[Tensors, Tensors]:
        """Move the environments that `mask` (E, 1) selects, all without one.

        Args:
            action: (E, R, 2) thrust change commands or (E, R) indices.
            mask: None or bool (E, 1).

        Returns:
            As `reset`, the robots' tensors with their reward.
        """
        chosen = self._chosen(mask)
        action = action.to(self.world.device).permute(*reversed(range(action.ndim))).contiguous()
        result = self.world.step(action, mask=chosen)
        reward, outcome = result.reward, result.outcome
        if chosen is not None:
            reward, outcome = torch.where(chosen, reward, 0), torch.where(chosen, outcome, self._outcome)
        self._outcome = outcome
        robots, flags = self._tensors(self.world.observation)
        robots["reward"] = _rows(reward)
        return robots, flags

    def episode_data(self) -> list[dict]:
        """Episode dictionary of every environment, histories at their start."""
        return self.world.episode_data()

    def _chosen(self, mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask.reshape(-1).to(self.world.device)

    def _active(self) -> Tensor:
        return self.world.state.active.bool()  # the world's own flags may be numbers, for its kernels

    def _outcome_at_start(self) -> Tensor:
        return torch.where(self._active(), Outcome.NORMAL, Outcome.ABSENT).to(torch.int8)

    def _tensors(self, observation: Observation) -> tuple[Tensors, Tensors]:
        outcome = _rows(self._outcome)
        ended, flags = ending_flags(outcome)
        robots = {
            "self_state": observation.self_state.permute(2, 1, 0),
            "objects_state": observation.objects_state.permute(3, 2, 0, 1),
            "objects_mask": observation.objects_mask.permute(2, 1, 0),
            "active": _rows(self._active()),
            "outcome": outcome,
            **ended,
        }
        return robots, flags


def _rows(tensor: Tensor) -> Tensor:
    """From [R, E] of the world to (E, R, 1) of the schema."""
    return tensor.T.unsqueeze(-1)
