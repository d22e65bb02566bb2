"""What a policy is evaluated on outside its training, and what is reported of it."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.episode import things_in, write_episode
from marinenav_env.envs.contract.stage import COLUMNS
from torchrl_gpu.evaluation.metrics import EpisodeResult, Metrics
from torchrl_gpu.evaluation.one_by_one import create_eval_configs
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.seeding import EVAL_SEED

THINGS = COLUMNS[:3]
"""Robots, cores and obstacles, as reports name them."""


class Task(NamedTuple):
    """Episodes, the reference world that they are played in, and the discount of their returns."""

    world: MarineNavEnv3
    episodes: list[dict]
    stage_of: list[int]  # of each episode
    discount: float

    @classmethod
    def drawn(
        cls,
        schedule: dict[str, list],
        discount: float,
        seed: int = EVAL_SEED,
        per_stage: int | None = None,
    ) -> "Task":
        """The episodes of an evaluation schedule, as training draws them, or ``per_stage`` of each stage."""
        if per_stage is not None:
            schedule = schedule | {"num_episodes": [per_stage] * len(schedule["num_episodes"])}
        world = MarineNavEnv3(seed, is_eval_env=True)
        episodes = create_eval_configs(world, schedule)
        numbers = enumerate(schedule["num_episodes"])
        return cls(world, episodes, [stage for stage, number in numbers for _ in range(number)], discount)

    @classmethod
    def of(cls, episodes: list[dict], discount: float) -> "Task":
        """Given episodes; a stage is a row of episodes with equally many of all things."""
        world = MarineNavEnv3(EVAL_SEED, is_eval_env=True)
        # The trainer leaves the last stage's number on its world, where it bounds the sensor seeds of all
        # episodes (Quirk W26).
        world.num_robots = episodes[-1]["env"]["num_robots"]
        return cls(world, episodes, stages_in(episodes), discount)

    def report(self, results: Sequence[EpisodeResult]) -> dict[str, Any]:
        """Metrics in total and of every stage, with what was placed of each thing on average; episodes."""
        placed = [dict(zip(THINGS, things_in(episode), strict=True)) for episode in self.episodes]
        rows = [[] for _ in range(max(self.stage_of) + 1)]
        for k, stage in enumerate(self.stage_of):
            rows[stage].append(k)
        return {
            "total": Metrics.of_results(results)._asdict(),
            "stages": [
                {thing: _mean([placed[k][thing] for k in row]) for thing in THINGS}
                | Metrics.of_results([results[k] for k in row])._asdict()
                for row in rows
            ],
            "episodes": [
                {
                    "stage": stage,
                    **things,
                    "success": bool(result.success),
                    "return": float(result.reward),
                    "time": float(result.time),
                    "energy": float(result.energy),
                }
                for stage, things, result in zip(self.stage_of, placed, results, strict=True)
            ],
        }

    def keep(self, folder: Path, results: Sequence[EpisodeResult]) -> Path:
        """Write episodes and results as a trial folder holds them; the file of the results."""
        record = EvaluationRecord()
        record.append(0, list(results))
        write_episode(self.episodes, folder / "eval_configs.json")
        return record.save(folder)


def stages_in(episodes: list[dict]) -> list[int]:
    """The stage of each episode: rows of episodes with equally many of all things."""
    rows = enumerate(itertools.groupby(map(things_in, episodes)))
    return [stage for stage, (_, row) in rows for _ in row]


def _mean(counts: list[int]) -> float | None:
    """The number of all, as it is where they agree; None of a stage without episodes."""
    if len(set(counts)) == 1:
        return counts[0]
    return float(np.mean(counts)) if counts else None
