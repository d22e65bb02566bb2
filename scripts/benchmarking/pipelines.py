"""The two pipelines, held between timesteps, counted and timed from outside."""

import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scripts import train_rl_agents
from scripts.benchmarking.measuring import Clock, Counts, Stopwatch
from torchrl_gpu import experiment
from torchrl_gpu.collect.plain_steps import PlainSteps
from torchrl_gpu.collect.step import Step
from torchrl_gpu.settings.parse import Trial, validate

NEVER = 10**9
"""A timestep that no benchmark reaches."""


def make_trial(trial: Trial, agent_type: str, stage: int, **keys: Any) -> Trial:
    """The trial of a benchmark: one stage of the config's curriculum for ever, no evaluation inside the loop.

    Learning waits for the pipelines' `start_learning`. Epsilon has its final value, which it keeps for most
    of a legacy run.

    Args:
        trial: From the config.
        agent_type: The learner.
        stage: Index into the training schedule.
        **keys: Further keys of the config.

    Raises:
        ConfigError: The keys do not fit each other.
    """
    schedule = {key: [values[stage]] for key, values in trial["training_schedule"].items()}
    schedule["timesteps"] = [0]
    evaluation = {key: values[:1] for key, values in trial["eval_schedule"].items()}
    evaluation["num_episodes"] = [1]
    settings = {
        "agent_type": agent_type,
        "training_schedule": schedule,
        "eval_schedule": evaluation,
        "total_timesteps": NEVER,
        "eval_freq": NEVER + 1,
        "learning_starts": NEVER + 1,
        "initial_eps": trial["final_eps"],
    }
    made = Trial(trial.values | settings | keys)
    validate(made)
    return made


def device_clock(device: str) -> Clock:
    """Clock that waits for the work of a device; where that is the CPU, CPU time tells the sections apart."""
    if torch.device(device).type != "cuda":
        return Clock()
    return Clock(torch.cuda.synchronize, of_sections=time.perf_counter)


class LegacyPipeline:
    """The legacy trainer, robot after robot on the NumPy world.

    Args:
        trial: From `make_trial`.
        device: Of the networks.
    """

    name = "legacy"
    num_envs = 1

    def __init__(self, trial: Trial, device: str) -> None:
        self.trainer = train_rl_agents.build_trainer(trial, device)
        self.stopwatch = Stopwatch(device_clock(device))
        self._transitions = self._updates = 0
        self._boundary: Callable[[], None] = lambda: None
        agent, world = self.trainer.rl_agent, self.trainer.train_env
        self._count(agent, "store", self._stored)
        self._count(agent.algorithm, "update", self._updated)
        self.stopwatch.wrap(agent, "act", "act")
        self.stopwatch.wrap(world, "step", "step")
        self.stopwatch.wrap(world, "reset", "step")
        self.stopwatch.wrap(agent, "store", "store")
        # Drawing a batch, its tensors, its priorities: all of `train` that is not the update inside it.
        self.stopwatch.wrap(agent, "train", "sample")
        self.stopwatch.wrap(agent.algorithm, "update", "update")
        self._count(world, "step", lambda: self._boundary())

    def start_learning(self) -> None:
        """Learn from now on."""
        self.trainer.learning_starts = 0

    def counts(self) -> Counts:
        """See `Pipeline`."""
        return Counts(self.trainer.train_env.total_timesteps, self._transitions, self._updates)

    def run(self, boundary: Callable[[], None]) -> None:
        """See `Pipeline`; the boundary lies before the step of the world."""
        self._boundary = boundary
        self.trainer.current_timestep = max(self.trainer.current_timestep, 1)  # timestep 0 might evaluate
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # the world announces its stage
            self.trainer.learn(NEVER, NEVER + 1, os.devnull, verbose=False)

    def _stored(self) -> None:
        self._transitions += 1

    def _updated(self) -> None:
        self._updates += 1

    @staticmethod
    def _count(owner: Any, method: str, note: Callable[[], None]) -> None:
        function = getattr(owner, method)

        def counted(*args: Any, **kwargs: Any) -> Any:
            note()
            return function(*args, **kwargs)

        setattr(owner, method, counted)


class TorchRLPipeline:
    """The TorchRL trainer: reproduction mode with one environment, throughput mode with more.

    Args:
        trial: From `make_trial`.
        device: Of networks, replay and world.
        folder: Existing folder for the files that a trainer writes.
    """

    name = "torchrl"

    def __init__(self, trial: Trial, device: str, folder: Path) -> None:
        self.folder = folder
        self.trainer = experiment.build_trainer(trial, device, folder)
        self.num_envs = trial["num_envs"]
        self.stopwatch = Stopwatch(device_clock(device))
        self._timesteps = 0
        self._transitions = torch.zeros((), dtype=torch.int64, device=device)
        self._boundary: Callable[[], None] = lambda: None
        self.trainer.listeners = (*self.trainer.listeners, self._look)
        watch, trainer = self.stopwatch, self.trainer
        plain = isinstance(trainer.steps, PlainSteps)
        watch.wrap(trainer.policy, "act_alone" if plain else "forward", "act")
        for method in ("step", "reset") if plain else ("step", "reset", "step_and_maybe_reset"):
            watch.wrap(trainer.steps.world if plain else trainer.env, method, "step")
        watch.wrap(trainer.replay, "store", "store")
        watch.wrap_iteration(trainer.replay, "sample", "sample")
        watch.wrap(trainer.replay, "feed_back", "sample")
        watch.wrap(trainer, "update", "update")

    def start_learning(self) -> None:
        """Learn from now on."""
        self.trainer.schedule = replace(self.trainer.schedule, learning_starts=0)

    def counts(self) -> Counts:
        """See `Pipeline`."""
        return Counts(self._timesteps, int(self._transitions), self.trainer.updates)

    def run(self, boundary: Callable[[], None]) -> None:
        """See `Pipeline`; the boundary lies after a vector step is stored."""
        self._boundary = boundary
        self.trainer.timestep = max(self.trainer.timestep, 1)  # timestep 0 might evaluate
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            self.trainer.learn(self.folder)

    def _look(self, step: Step, timestep: int) -> None:
        self._timesteps += self.num_envs
        self._transitions += step.acted.sum()
        self._boundary()
