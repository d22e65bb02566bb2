"""E independent `MarineNavEnv3` behind the face of `MarineNavTorchRLEnv`: the exact backend."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from marinenav_env.envs.contract.layout import (
    OBJECT_ROWS,
    OBSERVATION_FLAGS,
    OBSERVATION_KEYS,
    OBSERVATION_SHAPES,
)
from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE, Outcome, ending_flags
from marinenav_env.envs.contract.rewards import REWARDS
from marinenav_env.envs.contract.stage import Schedule, Stage
from marinenav_env.envs.reference.robot import deactivate_finished
from marinenav_env.envs.reference.world import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.specs import Rows

NUMPY_DTYPE = {torch.float32: np.float32, torch.float64: np.float64}


class NumpyWorlds:
    """Steps E reference worlds one after the other and lays their lists out as tensors.

    World k draws from the stream of ``MarineNavEnv3(seed + k)``, so that one environment gives the legacy
    numbers; all compute in float64, `dtype` is that of observations and rewards. The arrays are kept between
    calls: rows of environments that a masked call leaves alone stay. `max_robots` is the number of robot rows
    R; a scenario with fewer leaves the tail absent.
    """

    def __init__(
        self,
        num_envs: int,
        max_robots: int,
        *,
        seed: int,
        schedule: Schedule | None = None,
        rewards: Mapping[str, float] | None = None,
        is_eval_env: bool = False,
        continuous: bool = True,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.worlds = [
            MarineNavEnv3(seed=_seed_of(seed, k), schedule=schedule, is_eval_env=is_eval_env)
            for k in range(num_envs)
        ]
        self._set(verbose=False, **(rewards or {}))
        self.continuous, self.max_robots, self.device = continuous, max_robots, device
        rows, number = (num_envs, max_robots), NUMPY_DTYPE[dtype]
        self._rows = {
            **{
                key: np.zeros((*rows, *shape), bool if key in OBSERVATION_FLAGS else number)
                for key, shape in OBSERVATION_SHAPES.items()
            },
            "active": np.zeros((*rows, 1), bool),
            "outcome": np.full((*rows, 1), Outcome.ABSENT, np.int8),
        }
        self._reward = np.zeros((*rows, 1), number)

    @property
    def total_timesteps(self) -> int:
        """Steps of all environments together since construction; it selects the curriculum stage."""
        return self.worlds[0].total_timesteps

    @total_timesteps.setter
    def total_timesteps(self, value: int) -> None:
        self._set(total_timesteps=value)

    @property
    def rewards(self) -> dict[str, float]:
        """Weights of the reward terms in world 0; a loaded episode brings its own."""
        return {name: getattr(self.worlds[0], name) for name in REWARDS}

    @property
    def stage(self) -> Stage:
        """What a scenario asks for: the attributes of the worlds; settable without a schedule."""
        return self.worlds[0].stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._set(stage=stage)

    @property
    def placed(self) -> torch.Tensor:
        """How many robots, cores and obstacles found room in each environment, int32 (E, 3)."""
        counts = [[len(world.robots), len(world.cores), len(world.obstacles)] for world in self.worlds]
        return torch.tensor(counts, dtype=torch.int32)

    @property
    def outcomes(self) -> np.ndarray:
        """`Outcome` of every robot row, int8 (E, R)."""
        return self._rows["outcome"][..., 0]

    def seed(self, seed: int) -> None:
        """Give each world the stream of a newly built one; everything else stays (Quirk W28: six draws)."""
        for k, world in enumerate(self.worlds):
            fresh = MarineNavEnv3(seed=_seed_of(seed, k))
            world.seed, world.rd = fresh.seed, fresh.rd

    def reset(self, mask: torch.Tensor | None = None) -> Rows:
        """Begin new episodes where `mask`, bool (E, 1) or (E,), says, everywhere without one."""
        for k in self._chosen(mask):
            self._begin(k, self.worlds[k].reset()[0])
        return self._tensors()

    def load(self, episodes: list[dict]) -> Rows:
        """Begin environment k with the k-th episode dictionary."""
        for k, episode in enumerate(episodes):
            self._begin(k, self.worlds[k].reset_with_eval_config(episode)[0])
        return self._tensors()

    def step(self, action: torch.Tensor, mask: torch.Tensor | None = None) -> Rows:
        """Move the worlds that `mask`, bool (E, 1) or (E,), selects, and deactivate who has finished.

        Takes commands (E, R, 2) or indices (E, R); gives what `reset` does, the robots' tensors with their
        reward.
        """
        actions = action.tolist()  # plain numbers, as the legacy agents give: histories hold them
        timesteps = self.total_timesteps
        self._reward[:] = 0
        for k in self._chosen(mask):
            self._step_world(k, actions[k])
            timesteps += 1
        self.total_timesteps = timesteps
        robots, flags = self._tensors()
        robots["reward"] = self._tensor(self._reward)
        return robots, flags

    def episode_data(self) -> list[dict]:
        """Episode dictionary of every world."""
        return [world.episode_data() for world in self.worlds]

    def check(self) -> None:
        """Nothing waits to be raised: a world refuses a bad action at once."""

    def compile(self, **_: object) -> None:
        """Refuse: there is no graph to compile."""
        raise ValueError("compile=True needs backend='torch'; the 'numpy' backend steps Python worlds")

    def pin(self, _: object) -> None:
        """Refuse: the worlds follow the schedule."""
        raise ValueError(
            "stages are pinned with backend='torch' only; the 'numpy' backend follows its schedule"
        )

    def state_dict(self) -> dict[str, Any]:
        """What worlds of the same construction need to go on draw for draw; not copied."""
        # With the present observations: looking twice would draw twice.
        return {"worlds": [world.state_dict() for world in self.worlds], "rows": dict(self._rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`; ValueError for another number of environments."""
        for world, each in zip(self.worlds, state["worlds"], strict=True):
            world.load_state_dict(each)
        for name, row in self._rows.items():
            row[...] = state["rows"][name]

    def _set(self, **attributes: object) -> None:
        for world in self.worlds:
            for name, value in attributes.items():
                setattr(world, name, value)

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
        self._rows["outcome"][k] = Outcome.ABSENT
        self._rows["outcome"][k, :count] = Outcome.NORMAL
        self._rows["active"][k] = False
        self._rows["active"][k, :count] = True
        self._write_observations(k, observations)

    def _step_world(self, k: int, actions: list) -> None:
        world = self.worlds[k]
        robots = world.robots
        count = len(robots)
        try:
            observations, rewards, _, infos = world.step(actions[:count], self.continuous)
        except (TypeError, IndexError, ValueError) as error:  # an invalid action
            raise ValueError(f"environment {k}: {error}") from error
        self._reward[k, :count, 0] = rewards
        self._rows["outcome"][k, :count, 0] = [OUTCOME_OF_STATE[info["state"]] for info in infos]
        self._write_observations(k, observations)
        # The caller's duty in the legacy contract (Quirk W22).
        self._rows["active"][k, :count, 0] = [not deactivate_finished(robot) for robot in robots]

    def _write_observations(self, k: int, observations: list) -> None:
        own_rows, object_rows, mask, *further_rows = parts = [self._rows[key][k] for key in OBSERVATION_KEYS]
        for part in parts:
            part[:] = 0
        for i, (own, objects, *further) in enumerate(observations):
            if own is None:
                continue
            own_rows[i] = own
            if objects:
                object_rows[i, : len(objects)] = objects
                mask[i, : len(objects)] = True
            for rows, values in zip(further_rows, further, strict=True):
                rows[i] = values

    def _tensors(self) -> Rows:
        ended, flags = ending_flags(self._rows["outcome"])
        return tuple(
            {key: self._tensor(value) for key, value in part.items()} for part in (self._rows | ended, flags)
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Copy to a tensor: the arrays are written again at the next call."""
        return torch.from_numpy(array.copy()).to(self.device)


def _seed_of(seed: int, k: int) -> int:
    return (seed + k) % 2**32
