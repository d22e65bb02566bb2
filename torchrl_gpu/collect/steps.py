"""Vector steps without end, in one environment or many, that can be left and taken up again."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Self

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.collectors import Collector

from agents.legacy.replay_buffer import State
from marinenav_env.envs.contract.layout import GROUP, OBJECT_SIZE, SELF_SIZE
from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE, Outcome
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.numpy_worlds import NumpyBackend
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.evaluation.one_by_one import EPISODE_LIMIT, deactivate_finished
from torchrl_gpu.replay.rows import Transition


class VectorStep(NamedTuple):
    """One step of E environments of R robots.

    Attributes:
        record: What a replay stores: the TensorDict that ``env.step`` returned.
        acted: Robots that were in the water, bool (E, R, 1).
        active: Robots that still are, bool (E, R, 1).
        reward: (E, R, 1).
        outcome: `Outcome` of every robot, int8 (E, R, 1).
        done: Environments whose episode has ended, bool (E, 1).
    """

    record: TensorDictBase
    acted: Tensor
    active: Tensor
    reward: Tensor
    outcome: Tensor
    done: Tensor

    @classmethod
    def of(cls, step: TensorDictBase) -> Self:
        """From what ``env.step`` returned."""
        after = step.get("next")
        robots = after.get(GROUP)
        details = (robots.get(key) for key in ("active", "reward", "outcome"))
        return cls(step, step.get((GROUP, "active")), *details, after.get("done"))


@dataclass(slots=True)
class PlainStep:
    """A `VectorStep` of one environment as the world gave it; tensors are made for who asks.

    Attributes:
        record: What a replay stores: the transitions of the robots that acted.
        rewards: Of the robots that exist.
        outcomes: Legacy ``info`` of each of them.
        swim: Which of them are still in the water.
        done: Whether the episode has ended.
        max_robots: R.
    """

    record: list[Transition]
    rewards: list[float]
    outcomes: list[dict[str, str]]
    swim: list[bool]
    done: bool
    max_robots: int

    @property
    def reward(self) -> Tensor:
        """Rewards, float64 (1, R, 1)."""
        return self._rows(self.rewards, 0.0, torch.float64)

    @property
    def active(self) -> Tensor:
        """Robots that are still in the water, bool (1, R, 1)."""
        return self._rows(self.swim, False, torch.bool)

    @property
    def outcome(self) -> Tensor:
        """`Outcome` of every robot, int8 (1, R, 1)."""
        outcomes = [OUTCOME_OF_STATE[info["state"]] for info in self.outcomes]
        return self._rows(outcomes, Outcome.ABSENT, torch.int8)

    def _rows(self, values: list, absent: Any, dtype: torch.dtype) -> Tensor:
        padding = [absent] * (self.max_robots - len(values))
        return torch.tensor([*values, *padding], dtype=dtype).view(1, -1, 1)


Lap = Callable[[str], None]
"""Ends a part of a step, ``"act"`` or ``"step"``, for whoever times it."""


class PlainSteps:
    """Steps of one NumPy world in plain numbers: those of reproduction mode.

    Half the time of a step would go into the TensorDicts around it, which nobody looks at here: the agent
    acts robot by robot, and the memory takes transitions together. So the world of the environment is stepped
    as the legacy loop does; what ``env.step`` would have returned is not computed. A finished episode gives
    way to the next one right before its first step, as late as in that loop.

    Args:
        env: One environment of the NumPy backend; it needs a reset before it can be stepped itself again.
        policy: Acts in it, robot by robot.
        lap: Told when a part of a step has ended.
    """

    def __init__(self, env: MarineNavTorchRLEnv, policy: PolicyWrapper, lap: Lap) -> None:
        self.lap = lap
        [self.world] = env.worlds
        self.max_robots = env.max_robots
        self.policy = policy
        self._observations: list[State] = []

    def __call__(self) -> PlainStep:
        """Act and step."""
        world = self.world
        if self._ended():
            self._observations = world.reset()[0]
            self.lap("step")
        before, robots = self._observations, world.robots
        actions = [
            None if robot.deactivated else self.policy.act_alone(state)
            for robot, state in zip(robots, before, strict=True)
        ]
        self.lap("act")
        after, rewards, dones, infos = world.step(actions, self.policy.agent.continuous)
        transitions = zip(before, actions, rewards, after, dones, strict=True)
        record = [each for robot, each in zip(robots, transitions, strict=True) if not robot.deactivated]
        swim = [not deactivate_finished(robot) for robot in robots]
        self._observations = after
        self.lap("step")
        return PlainStep(record, rewards, infos, swim, all(dones), self.max_robots)

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


class SingleSteps:
    """Steps of one environment; TorchRL's collector would take half the time of a step for its bookkeeping.

    A finished environment is reset right before its next step, as late as in the legacy loop.

    Args:
        env: Environment of batch ``[1]``.
        policy: Acts in it.
        lap: Told when a part of a step has ended.
    """

    def __init__(self, env: MarineNavTorchRLEnv, policy: PolicyWrapper, lap: Lap) -> None:
        self.env = env
        self.lap = lap
        self.policy = policy
        self._last: TensorDictBase | None = None

    def __call__(self) -> VectorStep:
        """Act and step."""
        if self._last is None or self._last["next", "done"].item():
            state = self.env.reset()
            self.lap("step")
        else:
            state = self._last["next"]  # all of it: `step_mdp` would take time to leave out the reward
        acting = self.policy(state)
        self.lap("act")
        self._last = self.env.step(acting)
        self.lap("step")
        return VectorStep.of(self._last)

    def state_dict(self) -> dict[str, Any]:
        """What the last step led to; empty before the first."""
        return {} if self._last is None else self._last["next"].to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the step of a `state_dict`; the environment must be in its state as well."""
        batch = self.env.batch_size
        self._last = TensorDict({"next": _restored(state, batch)}, batch) if state else None


class CollectorSteps:
    """Steps of many environments by TorchRL's collector, which resets the finished ones after each step.

    Args:
        env: Environments of batch ``[E]``.
        policy: Acts in them.
        lap: Told when a part of a step has ended.
    """

    def __init__(self, env: MarineNavTorchRLEnv, policy: PolicyWrapper, lap: Lap) -> None:
        self.env = env
        self.lap = lap
        policy.register_forward_pre_hook(lambda *_: lap("step"))
        policy.register_forward_hook(lambda *_: lap("act"))
        self.collector = Collector(
            env,
            policy,
            frames_per_batch=env.batch_size[0],
            total_frames=-1,
            trust_policy=True,
            track_traj_ids=False,  # numbering them would make the host wait for a GPU at every step
            auto_register_policy_transforms=False,
        )
        self._batches = iter(self.collector)

    def __call__(self) -> VectorStep:
        """Act and step."""
        step = next(self._batches).squeeze(1)
        self.lap("step")
        return VectorStep.of(step)

    def state_dict(self) -> dict[str, Any]:
        """The observations that the next step acts on."""
        return self.collector._carrier.exclude("next", "collector").to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the observations of a `state_dict`; the environments must be in their state as well."""
        # The collector's own state_dict leaves out where its environments are.
        self.collector._carrier.update(_restored(state, self.env.batch_size))


Steps = PlainSteps | SingleSteps | CollectorSteps


def vector_steps(env: MarineNavTorchRLEnv, policy: PolicyWrapper, lap: Lap = lambda part: None) -> Steps:
    """Steps of however many environments there are; ``lap`` is told when a part of one has ended."""
    if env.batch_size[0] > 1:
        return CollectorSteps(env, policy, lap)
    plain = policy.sequential and isinstance(env.backend, NumpyBackend)
    return (PlainSteps if plain else SingleSteps)(env, policy, lap)


def _restored(state: dict[str, Any], batch_size: Any) -> TensorDict:
    """A TensorDict of a vector step from nested dictionaries; its robots have an axis more."""
    restored = TensorDict(state, batch_size)
    robots = restored[GROUP]
    robots.batch_size = robots["active"].shape[:-1]
    return restored
