"""Evaluation in throughput mode: all episodes side by side on the training device (training spec 5).

Metrics, endings and histories are those of the legacy evaluation. Its random numbers are its own (unlike
Defects T6 and T7): an evaluation neither shifts a training run nor differs from its repetition.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.agent import Agent
from agents.settings import Section, key
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.outcome import STATE_OF_OUTCOME, Outcome
from marinenav_env.envs.torchrl_gpu.state import LEFT, ROBOTS, Observation
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from torchrl_gpu.evaluation.metrics import EpisodeResult, report
from torchrl_gpu.evaluation.npz import gc_paused
from torchrl_gpu.evaluation.tally import Tally, greedy_actions
from torchrl_gpu.seeding import EVAL_SEED, separate_draws

GPU_CHECK_INTERVAL = 32
"""Steps between two looks at whether all episodes have ended, where looking makes the host wait."""


class RecordSettings(Section):
    """What is kept of an evaluation."""

    record_histories: bool = key(
        True,
        "keep observations, actions and trajectories of evaluations; without them large ones stay cheap",
        throughput=True,
    )


@dataclass
class Recording:
    """What happened in T steps, on the device; the world makes new tensors at each, so none is copied."""

    observations: list[Observation] = field(default_factory=list)  # T + 1 of [.., R, E]
    motions: list[Tensor] = field(default_factory=list)  # of the robots, T + 1 of [11, R, E]
    actions: list[Tensor] = field(default_factory=list)  # T of [2, R, E] or int64 [R, E]

    def look(self, world: VectorWorld) -> None:
        """Note what the robots see and where they are."""
        self.observations.append(world.observation)
        self.motions.append(world.state.motion)


class BatchedEvaluation:
    """Callable that plays all episodes with the agent's local networks, greedily, and returns their results.

    Each episode ends by itself as a legacy one does: at the first collision of any robot, when all robots are
    out of the water, or after 1001 steps; what its world does afterwards does not count. Sensor noise and the
    draws of stochastic agents (IQN, SAC) start from `seed` at every call, so networks that have not changed
    give the same results. Networks take raw observations; the agent is on the device of the worlds.
    """

    def __init__(
        self,
        agent: Agent,
        episodes: list[dict],  # environment spec 13; at least one
        device: torch.device | str = "cpu",
        settings: RecordSettings = RecordSettings(),  # noqa: B008 - it is frozen
        *,
        dtype: torch.dtype = torch.float32,  # of the worlds
        compile: bool | dict[str, Any] = False,  # the step of the worlds; see `VectorWorld`
        seed: int = EVAL_SEED,
        verbose: bool = True,  # print the report of each evaluation
    ) -> None:
        if not episodes:
            raise ValueError("episodes is empty; allowed are lists of at least one episode")
        self.agent = agent
        self.settings = settings
        self.seed = seed
        self.verbose = verbose
        self.world = VectorWorld(
            len(episodes),
            max(episode["env"]["num_robots"] for episode in episodes),
            continuous=agent.continuous,
            device=device,
            dtype=dtype,
            seed=seed,
            compile=compile,
        )
        self.world.load(episodes)
        self._start = self.world.state, self.world.observation
        self._host_waits = self.world.device.type != "cpu"  # to read a number from the device

    @torch.no_grad()
    def __call__(self) -> list[EpisodeResult]:
        """Play all episodes once; results in the order of the episodes."""
        self.world.state, self.world.observation = self._start
        self.world.seed(self.seed + 1)  # `seed` itself gave the noise of the first observation
        learner = self.agent.learner
        with separate_draws(self.seed, self.world.device), learner.acting_mode(use_eval=True):
            tally, recording = self._play()
        with gc_paused():
            results = self._results(tally, recording)
        if self.verbose:
            print(report(results))
        return results

    def _play(self) -> tuple[Tally, Recording | None]:
        tally = Tally.new(self.world.state)
        recording = Recording() if self.settings.record_histories else None
        interval = GPU_CHECK_INTERVAL if self._host_waits else 1
        for t in range(EPISODE_LIMIT + 1):
            acting = self.world.state.active.bool() & tally.running
            action = greedy_actions(self.agent, self.world.observation, acting)
            if recording:
                recording.look(self.world)
                recording.actions.append(action)
            reward = self.world.advance(action).reward
            discounted = self.agent.GAMMA**t * reward
            tally = tally.counted(acting, discounted, self.world.step_energy(), self.world.state)
            if (t + 1) % interval == 0 and not tally.running.any():
                break
        self.world.check()
        if recording:
            recording.look(self.world)
        return tally, recording

    def _results(self, tally: Tally, recording: Recording | None) -> list[EpisodeResult]:
        robot = self.world.params.of_robots()
        counts = self.world.state.scenario.counts[ROBOTS]
        times = tally.steps * (robot.dt * robot.N)
        sums = torch.stack((tally.returns, times, tally.energies)).sum(1)  # over robots: [3, E]
        means = (sums / counts).double().cpu().numpy()
        # An episode that goes on after the last step has been cut off.
        cut_off = tally.running & (tally.outcomes == Outcome.NORMAL)
        outcomes = torch.where(cut_off, Outcome.TOO_LONG_EPISODE, tally.outcomes).T.tolist()
        histories = Histories(self.world, recording, tally.steps) if recording else None
        index_type = None if self.agent.continuous else self.agent.learner.greedy_type
        return [
            EpisodeResult(
                reward=reward,
                success=success,
                time=time,
                energy=energy,
                observations=histories.observations(k) if histories else [],
                actions=histories.actions(k, index_type) if histories else [],
                trajectories=histories.trajectories(k) if histories else [],
                outcomes=[STATE_OF_OUTCOME[Outcome(outcome)] for outcome in outcomes[k][:robots]],
            )
            for k, (reward, time, energy, success, robots) in enumerate(
                zip(*means, tally.success.tolist(), counts.tolist(), strict=True)
            )
        ]


class Histories:
    """The legacy histories of all robots (environment spec 13.5), of episodes recorded to their ends."""

    def __init__(self, world: VectorWorld, recording: Recording, steps: Tensor) -> None:
        self_states, objects, num_objects = (
            torch.stack([getattr(seen, part) for seen in recording.observations])
            for part in ("self_state", "objects_state", "num_objects")
        )
        motion = torch.stack(recording.motions)
        robot = world.params.of_robots()
        angles = torch.stack((robot.left_pos, robot.right_pos)).expand(len(motion), 2, *steps.shape)
        # From here on environment, robot, step come first, and everything is on the CPU.
        self._steps = steps.T.tolist()  # that each robot has made
        self._counts = world.state.scenario.counts[ROBOTS].tolist()
        self._self_states = _by_robot(self_states)
        self._objects = _by_robot(objects)
        self._num_objects = _by_robot(num_objects)
        self._actions = _by_robot(torch.stack(recording.actions))
        self._rows = _by_robot(torch.cat((motion[:, :LEFT], angles, motion[:, LEFT:]), dim=1))

    def observations(self, k: int) -> list:
        """[robot][step] ``[self, objects]`` of episode k, ``[None, None]`` once the robot is deactivated."""
        length = max(self._steps[k])
        return [
            self._seen(k, i, steps) + [[None, None] for _ in range(length - steps)]
            for i, steps in self._robots(k)
        ]

    def actions(self, k: int, index_type: type | None) -> list:
        """[robot][step] two floats, or for discrete agents an index of the type that they give."""
        lists = [self._actions[k, i, :steps].tolist() for i, steps in self._robots(k)]
        if index_type is None:
            return lists
        return [[index_type(action) for action in actions] for actions in lists]

    def trajectories(self, k: int) -> list:
        """[robot][step] rows of 13 floats (environment spec 13.4), row 0 at the start."""
        return [self._rows[k, i, : steps + 1].tolist() for i, steps in self._robots(k)]

    def _robots(self, k: int) -> Iterator[tuple[int, int]]:
        return enumerate(self._steps[k][: self._counts[k]])

    def _seen(self, k: int, i: int, steps: int) -> list:
        parts = (self._self_states, self._objects, self._num_objects)
        own, objects, number = (values[k, i, : steps + 1] for values in parts)
        # Most rows are padding, and turning numbers into Python's is what takes the time here.
        rows = iter(objects[np.arange(objects.shape[1]) < number[:, None]].tolist())
        return [
            [state, list(islice(rows, n))] for state, n in zip(own.tolist(), number.tolist(), strict=True)
        ]


def _by_robot(values: Tensor) -> Any:
    """From steps first, robots and environments last to (E, R, T, ..), a NumPy array."""
    return values.movedim((-1, -2, 0), (0, 1, 2)).contiguous().cpu().numpy()
