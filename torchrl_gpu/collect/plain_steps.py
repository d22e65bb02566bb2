"""Steps of one NumPy world in plain numbers: those of reproduction mode."""

from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.batch import State, row_size
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.layout import OBJECT_SIZE, SELF_SIZE
from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE, Outcome
from marinenav_env.envs.reference.robot import deactivate_finished
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.step import Lap, Step
from torchrl_gpu.replay.rows import plain_row


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
        self._rows = np.zeros((env.max_robots, row_size(policy.agent.continuous)), dtype=np.float32)

    def __call__(self) -> Step:
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
        rows = self._rows.copy()
        for i, transition in enumerate(zip(before, actions, rewards, after, dones, strict=True)):
            if acted[i]:
                rows[i] = plain_row(*transition)
        self._observations = after
        ended, done = [deactivate_finished(robot) for robot in robots], all(dones)
        states = [info["state"] for info in infos]
        return self._step(rows, acted, ended, rewards, states, done)

    def _step(
        self,
        rows: np.ndarray,
        acted: list[bool],
        ended: list[bool],
        rewards: list[float],
        states: list[str],
        done: bool,
    ) -> Step:
        """Tensors of all robot rows, those of absent robots included."""
        absent = len(rows) - len(acted)
        ended = [done or end for end in ended]
        return Step(
            torch.from_numpy(rows),
            _flags(*acted, *[False] * absent),
            _flags(*ended, *[done] * absent),
            torch.from_numpy(np.array([rewards + [0.0] * absent], dtype=np.float64)),
            _outcomes(absent, *states),
            _flags(done),
        )

    def _ended(self) -> bool:
        """Whether the world needs a reset, as it does before the first step."""
        over = self.world.episode_timesteps > EPISODE_LIMIT or self.world.check_all_deactivated()
        return over or not self._observations

    def state_dict(self) -> dict[str, Any]:
        """The observations that the next step acts on; nothing where it begins an episode."""
        if self._ended():
            return {}
        sizes = [-1 if own is None else len(objects) for own, objects in self._observations]
        numbers = [x for own, objects in self._observations if own for part in (own, *objects) for x in part]
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
            self._observations.append((own, objects))


# Most steps have the same few: to make each anew takes a tenth of a step. Nobody writes into them.
@lru_cache(maxsize=4096)
def _flags(*flags: bool) -> Tensor:
    return torch.tensor(flags)


@lru_cache(maxsize=4096)
def _outcomes(absent: int, *states: str) -> Tensor:
    outcomes = [OUTCOME_OF_STATE[state] for state in states] + [Outcome.ABSENT] * absent
    return torch.tensor([outcomes], dtype=torch.int8)
