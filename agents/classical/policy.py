"""What the classical policies share: the face of an agent, for evaluations in both worlds."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from agents.batch import Observation, State, state_batch
from agents.classical.autopilot import Tuning, nearest_actions, thrust_commands
from marinenav_env.envs.contract.layout import OBJECT_ROWS, OBJECT_SIZE
from marinenav_env.envs.reference.sensor import Perception


class ClassicalPolicy(ABC):
    """A planner that knows no learning and needs no files; it acts as an `Agent` does.

    A subclass wants a velocity; the autopilot turns it into thrust commands, `continuous` ones or the nearest
    discrete action. Evaluations ask ``policy.learner`` for batches of actions: that is the policy itself.
    """

    agent_type: ClassVar[str]
    autopilot: ClassVar[Tuning]
    greedy_type: ClassVar[type] = int

    def __init__(self, continuous: bool = True, tuning: Tuning | None = None) -> None:
        self.continuous, self.tuning = continuous, tuning or self.autopilot
        self.GAMMA = 0.99  # for the discounted return of an evaluation
        self.dtype = torch.float32

    @property
    def learner(self) -> Self:
        """Who acts for batches of observations."""
        return self

    @abstractmethod
    def wanted_velocity(self, own: Tensor, objects: Tensor, seen: Tensor) -> Tensor:
        """Velocity over ground in the body frame, (N, 2) (m/s).

        Takes own states (N, 7), objects (N, 5, 5) whose radius is the mean of what the sensor gives for one
        of that radius, and which rows there are, bool (N, 5).
        """

    def greedy(self, observation: Observation) -> Tensor:
        """Commands (N, 2), or indices of actions int64 (N,)."""
        own, objects, seen, *_ = observation
        if objects is None:
            objects = own.new_zeros(len(own), OBJECT_ROWS, OBJECT_SIZE)
            seen = objects[..., 0]
        objects = torch.cat((objects[..., :4], objects[..., 4:] / Perception.r_mean_ratio), -1)
        commands = thrust_commands(own, self.wanted_velocity(own, objects, seen > 0), self.tuning)
        return commands if self.continuous else nearest_actions(commands)

    def act(self, state: State, eps: float = 0.0, **_: Any) -> list[float] | int:
        """Action of one vessel: two floats, or an index; nothing is drawn."""
        lists = state_batch([state])  # empty where nothing is seen
        parts = [torch.tensor(values, dtype=self.dtype) if values else None for values in lists]
        return self.greedy(Observation(*parts))[0].tolist()

    def acting_mode(self, use_eval: bool) -> AbstractContextManager:
        """Nothing differs between training and evaluation."""
        return nullcontext()
