"""Steps of one NumPy world in plain numbers: those of reproduction mode."""

from functools import lru_cache
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.batch import State, row_size
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.layout import FURTHER_KEYS, OBJECT_SIZE, OBSERVATION_SHAPES, SELF_SIZE
from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE, Outcome
from marinenav_env.envs.reference.robot import deactivate_finished
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.step import Lap
from torchrl_gpu.replay.rows import plain_row


class PlainStep(NamedTuple):
    """A `Step` of one world as the world gave it, lists of the robots that exist; see there.

    Its tensors are made for who asks: the replay, and the statistics at the end of an episode, ask for those
    of many steps at once, which takes a third of the time that they would take one by one.
    """

    before: list[State]
    actions: list[Any]
    rewards: list[float]
    after: list[State]
    dones: list[bool]
    infos: list[dict[str, str]]
    acting: list[bool]
    finished: list[bool]  # who has left the water
    done: Tensor
    no_rows: np.ndarray  # zeros in the shape of the rows

    @property
    def rows(self) -> Tensor:
        """Transitions, zeros where there is none."""
        rows = self.no_rows.copy()
        for i, transition in enumerate(zip(*self[:5], strict=True)):
            if self.acting[i]:
                rows[i] = plain_row(*transition)
        return torch.from_numpy(rows)

    @property
    def acted(self) -> Tensor:
        """Who was in the water."""
        return _flags(*self.acting, *[False] * self._absent)

    @property
    def ended(self) -> Tensor:
        """Whose stream has ended."""
        over = bool(self.done)
        return _flags(*[over or end for end in self.finished], *[over] * self._absent)

    @property
    def reward(self) -> Tensor:
        """Rewards, float64."""
        return torch.tensor([self.rewards + [0.0] * self._absent], dtype=torch.float64)

    @property
    def outcome(self) -> Tensor:
        """`Outcome` of each robot."""
        outcomes = [OUTCOME_OF_STATE[info["state"]] for info in self.infos]
        return torch.tensor([outcomes + [Outcome.ABSENT] * self._absent], dtype=torch.int8)

    @property
    def _absent(self) -> int:
        return len(self.no_rows) - len(self.acting)


class PlainSteps:
    """Steps without end, that can be left and taken up again.

    Half the time of a step would go into the TensorDicts around it, which nobody looks at here: the agent
    acts robot by robot. So the world of the environment is stepped as the legacy loop does; what ``env.step``
    would have returned is not computed. A finished episode gives way to the next one right before its first
    step, as late as in that loop.

    Args:
        env: One environment of the NumPy backend; it needs a reset before it can be stepped itself again.
        policy: Explores in it, robot by robot.
        lap: Told when a part of a step has ended.
    """

    def __init__(self, env: MarineNavTorchRLEnv, policy: PolicyWrapper, lap: Lap = lambda part: None) -> None:
        [self.world] = env.world.worlds
        self.policy = policy
        self.lap = lap
        self._observations: list[State] = []
        self._no_rows = np.zeros((env.max_robots, row_size(policy.agent.continuous)), dtype=np.float32)

    def __call__(self) -> PlainStep:
        """Act and step."""
        world = self.world
        if self._ended():
            self._observations = world.reset()[0]
        before, robots = self._observations, world.robots
        acted = [not robot.deactivated for robot in robots]
        actions = [
            self.policy.act_alone(state) if acts else None for acts, state in zip(acted, before, strict=True)
        ]
        self.lap("act")
        after, rewards, dones, infos = world.step(actions, self.policy.agent.continuous)
        self.lap("step")
        self._observations = after
        finished = [deactivate_finished(robot) for robot in robots]
        done = _flags(all(dones))
        return PlainStep(before, actions, rewards, after, dones, infos, acted, finished, done, self._no_rows)

    def _ended(self) -> bool:
        """Whether the world needs a reset, as it does before the first step."""
        over = self.world.episode_timesteps > EPISODE_LIMIT or self.world.check_all_deactivated()
        return over or not self._observations

    def state_dict(self) -> dict[str, Any]:
        """The observations that the next step acts on; nothing where it begins an episode."""
        if self._ended():
            return {}
        seen = self._observations
        sizes = [-1 if own is None else len(objects) for own, objects, *_ in seen]
        parts = [(own, *objects, *further) for own, objects, *further in seen if own]
        numbers = [x for part in chain.from_iterable(parts) for x in part]
        return {"sizes": torch.tensor(sizes), "numbers": torch.tensor(numbers, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`; the environment must be in its state as well."""
        self._observations = []
        numbers = iter(state["numbers"].tolist() if state else ())
        for size in state["sizes"].tolist() if state else ():
            if size < 0:  # out of the water: it has no numbers
                self._observations.append((None, None))
                continue
            own, *objects = (list(islice(numbers, n)) for n in (SELF_SIZE, *[OBJECT_SIZE] * size))
            further = (list(islice(numbers, *OBSERVATION_SHAPES[key])) for key in FURTHER_KEYS)
            self._observations.append((own, objects, *further))


@lru_cache(maxsize=4096)  # most steps have the same few; nobody writes into them
def _flags(*flags: bool) -> Tensor:
    return torch.tensor(flags)
