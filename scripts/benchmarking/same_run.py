"""Reproduction mode: both pipelines make the same run, draw for draw, and their times compare directly."""

import os
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from scripts import train_rl_agents
from scripts.benchmarking.measuring import Clock
from scripts.benchmarking.pipelines import NEVER, device_clock, make_trial
from torchrl_gpu import experiment
from torchrl_gpu.settings.parse import Trial
from torchrl_gpu.watch.progress import Verbosity

Row = dict[str, Any]


def measure_same_runs(
    trial: Trial, agent: str, stage: int, device: str, folder: Path, *, rounds: int, timesteps: int
) -> list[Row]:
    """Time the second half of runs, in which the agent learns, of both pipelines in turn.

    Args:
        trial: From a config without throughput keys.
        agent: The learner.
        stage: Index into the training schedule.
        device: Of the networks.
        folder: Existing folder for what the pipelines write.
        rounds: Runs of each pipeline, from the seeds 0, 1, ...; the order alternates.
        timesteps: Of a run.

    Returns:
        A row for the legacy pipeline and one for TorchRL, each with its rounds.

    Raises:
        RuntimeError: The two did not end with the same weights.
    """
    rows = {name: {"agent": agent, "pipeline": name, "timesteps": timesteps, "rounds": []} for name in WAYS}
    for seed in range(rounds):
        keys = {"total_timesteps": timesteps, "eval_freq": NEVER, "learning_starts": timesteps // 2}
        made = make_trial(trial, agent, stage, seed=seed, **keys)
        ends = {}
        for name in sorted(WAYS, reverse=seed % 2 == 1):
            taken, ends[name] = WAYS[name](made, device, folder)
            rows[name]["rounds"].append(taken)
        legacy, ours = ends.values()
        if not all(torch.equal(a, b) for a, b in zip(legacy, ours, strict=True)):
            raise RuntimeError(f"{agent}, seed {seed}: the pipelines ended with different weights")
    return list(rows.values())


Timed = tuple[dict[str, float], list[torch.Tensor]]


def legacy_run(trial: Trial, device: str, folder: Path) -> Timed:
    """A run of the legacy pipeline, no evaluation in it: times of its second half, and the weights."""
    trainer = train_rl_agents.build_trainer(trial, device)
    trainer._evaluate_and_save = lambda directory: None
    clock = HalfTime(trainer.train_env, device_clock(device), trial["learning_starts"])
    taken = clock.time(
        lambda: trainer.learn(trial["total_timesteps"], trial["eval_freq"], folder, verbose=False)
    )
    return taken, weights(trainer.rl_agent)


def torchrl_run(trial: Trial, device: str, folder: Path) -> Timed:
    """The same of the TorchRL pipeline."""
    trainer = experiment.build_trainer(trial, device, folder, Verbosity.QUIET)
    trainer._evaluate_and_save = lambda timestep, directory: None
    clock = HalfTime(trainer.steps.world, device_clock(device), trial["learning_starts"])
    return clock.time(lambda: trainer.learn(folder)), weights(trainer.agent)


WAYS = {"legacy": legacy_run, "torchrl": torchrl_run}


class HalfTime:
    """Reads the clock before a step of a world, and again when the run is over.

    Args:
        world: A `MarineNavEnv3`.
        clock: To read.
        step: How many steps come before.
    """

    def __init__(self, world: Any, clock: Clock, step: int) -> None:
        self.clock = clock
        self._steps_left = step
        self._step, world.step = world.step, self._counted_step

    def time(self, run: Callable[[], None]) -> dict[str, float]:
        """Wall and CPU seconds of the part of a run that began with the step."""
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            run()
        ends = self.clock.read()
        wall, cpu = (end - start for start, end in zip(self._start, ends, strict=True))
        return {"wall_s": wall, "cpu_s": cpu}

    def _counted_step(self, *args: Any, **kwargs: Any) -> Any:
        if self._steps_left == 0:
            self._start = self.clock.read()
        self._steps_left -= 1
        return self._step(*args, **kwargs)


def weights(agent: Any) -> list[torch.Tensor]:
    """Parameters of the networks that learn."""
    networks = agent.algorithm.networks(agent.policy_local).values()
    return [parameter.detach().clone() for network in networks for parameter in network.parameters()]
