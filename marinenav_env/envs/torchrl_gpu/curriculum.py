"""Which stage each environment of a world of tensors is in."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import MAX_ATTEMPTS
from marinenav_env.envs.contract.stage import Schedule, Stage, stage_index, stages_of


class Curriculum:
    """The stages of a schedule (environment spec 5), or one that is set; every change counts `changes` up.

    `index` is the stage of each environment, int64 [E] on the CPU; `pinned` environments keep theirs.
    """

    def __init__(self, num_envs: int, max_robots: int, schedule: Schedule | None) -> None:
        self._max_robots, self._schedule = max_robots, schedule
        self.stages = [Stage()] if schedule is None else [_possible(stage) for stage in stages_of(schedule)]
        self.index = torch.zeros(num_envs, dtype=torch.int64)
        self.pinned, self.changes = False, 0

    @property
    def slots(self) -> tuple[int, int]:
        """Slots for cores and obstacles that suffice; more than there are attempts never find room."""
        cores, obstacles = (max(stage[column] for stage in self.stages) for column in (1, 2))
        return min(cores, MAX_ATTEMPTS), min(obstacles, MAX_ATTEMPTS)

    def requests(self) -> Tensor:
        """What each environment asks for, rows of `Stage`, float64 [4, E]."""
        return torch.tensor(self.stages, dtype=torch.float64)[self.index].T

    def ask(self, stage: Stage) -> None:
        """Set the stage of all environments; see `VectorWorld.stage`."""
        if self._schedule is not None:
            raise ValueError(f"scenario {stage} given; the schedule decides, allowed is to pin its stages")
        if not 1 <= stage.num_robots <= self._max_robots:
            raise ValueError(
                f"num_robots is {stage.num_robots}; allowed are 1 to max_robots={self._max_robots}"
            )
        self.stages, self.changes = [stage], self.changes + 1

    def pin(self, stage: int | Sequence[int] | Tensor | None) -> None:
        """Pin environments to stages; see `VectorWorld.pin`."""
        self.pinned = stage is not None
        if stage is None:
            return
        number, index = len(self.index), torch.as_tensor(stage, dtype=torch.int64, device="cpu")
        if index.ndim > 1 or (index.ndim == 1 and len(index) != number):
            raise ValueError(f"stage has shape {tuple(index.shape)}; allowed are () and ({number},)")
        if not 0 <= int(index.min()) <= int(index.max()) < len(self.stages):
            raise ValueError(f"stage is {stage}; allowed are 0 to {len(self.stages) - 1}")
        self._choose(index)

    def follow(self, timesteps: int) -> None:
        """Go to the stage of the schedule after so many timesteps, unless pinned."""
        if self._schedule is not None and not self.pinned:
            self._choose(torch.tensor(stage_index(self._schedule, timesteps) % len(self.stages)))

    def _choose(self, index: Tensor) -> None:
        index = index.expand(len(self.index))
        if not torch.equal(index, self.index):
            self.index, self.changes = index.clone(), self.changes + 1

    def state_dict(self) -> dict[str, Any]:
        """Where the environments are."""
        return {"stages": [list(stage) for stage in self.stages], "index": self.index, "pinned": self.pinned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.stages = [Stage(*stage) for stage in state["stages"]]
        self.index, self.pinned = state["index"].cpu(), state["pinned"]


def _possible(stage: Stage) -> Stage:
    return stage._replace(num_cores=max(stage.num_cores, 0), num_obs=max(stage.num_obs, 0))
