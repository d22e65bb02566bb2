"""Policies on the same scenarios: what each comes to on the ladder and in the standard encounters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.policies import load_policy
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.episode import read_episodes
from marinenav_env.envs.reference import imazu
from torchrl_gpu.evaluation.encounters import Encounter, meet
from torchrl_gpu.evaluation.fleets import Clock
from torchrl_gpu.evaluation.ladder import NO_DECISIONS, Cell, Decisions, climb
from torchrl_gpu.evaluation.metrics import FleetMetrics, FleetResults

REACTIONS = 200
"""Single decisions that are timed."""


class Plan(NamedTuple):
    """What every policy plays."""

    episodes: int  # of each cell
    seed: int  # of scenarios and sensor noise
    times: int  # that each standard encounter is played; 0: none
    device: str = "cpu"
    trust: bool = False  # traced files that cannot be read as data
    compiled: bool = False  # the step of the ladder's world


class Work(NamedTuple):
    """A piece of work for a process: a policy, and cells of a batch, or none for the encounters."""

    source: str
    batch: Sequence[Cell]


@dataclass
class Performance:
    """What a policy came to."""

    cells: dict[Cell, FleetResults] = field(default_factory=dict)
    decisions: Decisions = NO_DECISIONS
    encounters: list[Encounter] = field(default_factory=list)
    reaction: float = float("nan")  # median time of a single decision (s)

    def __ior__(self, other: "Performance") -> "Performance":
        """Add what another piece of work came to."""
        self.cells |= other.cells
        self.decisions = self.decisions + other.decisions
        self.encounters += other.encounters
        self.reaction = np.fmin(self.reaction, other.reaction)
        return self

    def total(self) -> FleetMetrics:
        """Over all cells, each counting as much."""
        return FleetMetrics.of(FleetResults.joined(list(self.cells.values())))


def perform(task: Work, plan: Plan) -> Performance:
    """Do a piece of work; on a CPU with the threads that torch has."""
    policy = load_policy(task.source, plan.device, trust=plan.trust)
    if task.batch:
        return Performance(*climb(policy, task.batch, plan.episodes, plan.seed, plan.device, plan.compiled))
    episodes = read_episodes(imazu.FILE)
    met = meet(policy, episodes, plan.times, plan.seed, plan.device)
    return Performance(encounters=met, reaction=reaction_time(policy, plan.device))


def reaction_time(policy: Any, device: str = "cpu") -> float:
    """Median time that a policy takes for one vessel by itself (s); see `Clock`."""
    now = Clock(device).now
    states = MarineNavEnv3(seed=0).reset()[0]
    seconds = []
    for k in range(REACTIONS):
        before = now()
        policy.act(states[k % len(states)])
        seconds.append(now() - before)
    return float(np.median(seconds))


def report(outcome: Performance) -> dict[str, Any]:
    """All numbers of a policy, for JSON; estimates are [value, low, high, count]."""
    rows = [
        cell._asdict() | FleetMetrics.of(results)._asdict()
        for cell, results in sorted(outcome.cells.items(), key=lambda item: item[0])
    ]
    cases = zip(imazu.COURSES.items(), outcome.encounters, strict=False)
    seconds, number = outcome.decisions
    return {
        "decision_us": 1e6 * seconds / number if number else None,
        "reaction_ms": None if np.isnan(outcome.reaction) else 1e3 * outcome.reaction,
        "total": outcome.total()._asdict() if outcome.cells else None,
        "cells": rows,
        "encounters": [encounter_row(case, courses, each) for (case, courses), each in cases],
    }


def encounter_row(case: int, courses: list[int], encounter: Encounter) -> dict[str, Any]:
    """What came of a standard encounter; ships by number, 0 being the own ship."""
    metrics = FleetMetrics.of(encounter.results)
    return {
        "case": case,
        "courses": courses,
        "success": metrics.success,
        "separation": encounter.separation,
        "gave_way": encounter.gave_way,
        "asides": np.median(encounter.asides, axis=0).round(2).tolist(),
        "duties": encounter.duties.sum(0).tolist(),
        "kept": encounter.kept.sum(0).tolist(),
    }


def single_thread() -> None:
    """Let torch use one thread: a process for each core serves small tensors better."""
    torch.set_num_threads(1)
