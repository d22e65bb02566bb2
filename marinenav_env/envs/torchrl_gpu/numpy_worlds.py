"""E independent `MarineNavEnv3` behind the face of `MarineNavTorchRLEnv`: the exact backend."""

from collections.abc import Iterable

import numpy as np
import torch

from marinenav_env.envs.contract.layout import OBJECT_ROWS, OBJECT_SIZE, SELF_SIZE
from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE, Outcome, ending_flags
from marinenav_env.envs.reference.world import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.specs import Tensors

NUMPY_DTYPE = {torch.float32: np.float32, torch.float64: np.float64}


class NumpyBackend:
    """Steps reference worlds one after the other and lays their lists out as tensors.

    World k draws from the stream of ``MarineNavEnv3(seed + k)``, so that one environment gives the legacy
    numbers. The arrays are kept between calls: rows of environments that a masked call leaves alone stay.

    Args:
        num_envs: number of worlds E.
        max_robots: robot rows R; a scenario with fewer leaves the tail absent.
        seed: seed of world 0.
        schedule: legacy curriculum, or None.
        is_eval_env: record histories, as `MarineNavEnv3` does.
        continuous: thrust change commands, or indices of actions.
        dtype: float32 or float64, of observations and rewards. The worlds themselves compute in float64.
        device: where the tensors go.
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
        self.worlds = [
            MarineNavEnv3(seed=_seed_of(seed, k), schedule=schedule, is_eval_env=is_eval_env)
            for k in range(num_envs)
        ]
        for world in self.worlds:
            world.verbose = False
        self.continuous = continuous
        self.max_robots = max_robots
        self.device = device
        rows, number = (num_envs, max_robots), NUMPY_DTYPE[dtype]
        self.self_state = np.zeros((*rows, SELF_SIZE), number)
        self.objects_state = np.zeros((*rows, OBJECT_ROWS, OBJECT_SIZE), number)
        self.objects_mask = np.zeros((*rows, OBJECT_ROWS), bool)
        self.active = np.zeros((*rows, 1), bool)
        self.outcome = np.full((*rows, 1), Outcome.ABSENT, np.int8)
        self.reward = np.zeros((*rows, 1), number)

    @property
    def total_timesteps(self) -> int:
        """Steps of all environments together since construction; it selects the curriculum stage."""
        return self.worlds[0].total_timesteps

    @total_timesteps.setter
    def total_timesteps(self, value: int) -> None:
        for world in self.worlds:
            world.total_timesteps = value

    @property
    def collision_penalty(self) -> float:
        """Reward of a collision."""
        return self.get("collision_penalty")

    @collision_penalty.setter
    def collision_penalty(self, value: float) -> None:
        self.set("collision_penalty", value)

    def get(self, name: str) -> object:
        """Attribute `name` of the worlds."""
        return getattr(self.worlds[0], name)

    def set(self, name: str, value: object) -> None:
        """Set attribute `name` of every world."""
        for world in self.worlds:
            setattr(world, name, value)

    def seed(self, seed: int) -> None:
        """Give each world the stream of a newly built one; everything else stays (Quirk W28: six draws)."""
        for k, world in enumerate(self.worlds):
            fresh = MarineNavEnv3(seed=_seed_of(seed, k))
            world.seed, world.rd = fresh.seed, fresh.rd

    def reset(self, mask: torch.Tensor | None) -> tuple[Tensors, Tensors]:
        """Start new episodes where `mask` (E, 1) says, everywhere without one.

        Returns:
            The robots' tensors and the environments' flags, of all environments.
        """
        for k in self._chosen(mask):
            self._begin(k, self.worlds[k].reset()[0])
        return self._tensors()

    def reset_with_eval_configs(self, episodes: list[dict]) -> tuple[Tensors, Tensors]:
        """Start world k from the k-th episode dictionary; returns as `reset`."""
        for k, episode in enumerate(episodes):
            self._begin(k, self.worlds[k].reset_with_eval_config(episode)[0])
        return self._tensors()

    def step(self, action: torch.Tensor, mask: torch.Tensor | None) -> tuple[Tensors, Tensors]:
        """Move the worlds that `mask` (E, 1) selects, all without one, and deactivate who has finished.

        Args:
            action: (E, R, 2) thrust change commands or (E, R) indices.
            mask: None or bool (E, 1).

        Returns:
            As `reset`, the robots' tensors with their reward.
        """
        actions = action.tolist()  # plain numbers, as the legacy agents give: histories hold them
        timesteps = self.total_timesteps
        self.reward[:] = 0
        for k in self._chosen(mask):
            self._step_world(k, actions[k])
            timesteps += 1
        self.total_timesteps = timesteps
        robots, flags = self._tensors()
        robots["reward"] = self._tensor(self.reward)
        return robots, flags

    def episode_data(self) -> list[dict]:
        """Episode dictionary of every world."""
        return [world.episode_data() for world in self.worlds]

    def compile(self, **_: object) -> None:
        """Refuse: there is no graph to compile."""
        raise ValueError("compile=True needs backend='torch'; the 'numpy' backend steps Python worlds")

    def set_stage(self, stage: object) -> None:
        """Refuse: the worlds follow the schedule."""
        raise ValueError("stages are set with backend='torch' only; the 'numpy' backend follows its schedule")

    def _chosen(self, mask: torch.Tensor | None) -> Iterable[int]:
        if mask is None:
            return range(len(self.worlds))
        return mask.reshape(-1).nonzero().flatten().tolist()

    def _begin(self, k: int, observations: list) -> None:
        robots = self.worlds[k].robots
        count = len(robots)
        if not 1 <= count <= self.max_robots:
            raise ValueError(
                f"environment {k} starts with {count} robots; allowed are 1 to max_robots={self.max_robots}"
            )
        objects = max(robot.perception.max_obj_num for robot in robots)
        if objects > OBJECT_ROWS:
            raise ValueError(
                f"perception max_obj_num is {objects} in environment {k}; allowed are 0 to {OBJECT_ROWS}"
            )
        self.outcome[k] = Outcome.ABSENT
        self.outcome[k, :count] = Outcome.NORMAL
        self.active[k] = False
        self.active[k, :count] = True
        self._write_observations(k, observations)

    def _step_world(self, k: int, actions: list) -> None:
        world = self.worlds[k]
        robots = world.robots
        count = len(robots)
        observations, rewards, _, infos = world.step(actions[:count], self.continuous)
        self.reward[k, :count, 0] = rewards
        self.outcome[k, :count, 0] = [OUTCOME_OF_STATE[info["state"]] for info in infos]
        self._write_observations(k, observations)
        for robot in robots:  # the caller's duty in the legacy contract (Quirk W22)
            if robot.collision or robot.reach_goal:
                robot.deactivated = True
        self.active[k, :count, 0] = [not robot.deactivated for robot in robots]

    def _write_observations(self, k: int, observations: list) -> None:
        self.self_state[k] = 0
        self.objects_state[k] = 0
        self.objects_mask[k] = False
        for i, (own, objects) in enumerate(observations):
            if own is None:
                continue
            self.self_state[k, i] = own
            if objects:
                self.objects_state[k, i, : len(objects)] = objects
                self.objects_mask[k, i, : len(objects)] = True

    def _tensors(self) -> tuple[Tensors, Tensors]:
        ended, flags = ending_flags(self.outcome)
        robots = {
            "self_state": self.self_state,
            "objects_state": self.objects_state,
            "objects_mask": self.objects_mask,
            "active": self.active,
            "outcome": self.outcome,
            **ended,
        }
        robots, flags = (
            {key: self._tensor(value) for key, value in part.items()} for part in (robots, flags)
        )
        return robots, flags

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Copy to a tensor: the arrays are written again at the next call."""
        return torch.from_numpy(array.copy()).to(self.device)


def _seed_of(seed: int, k: int) -> int:
    return (seed + k) % 2**32
