"""The episodes that `scripts/evaluate.py` plays: drawn as a config says, or those of a run."""

import argparse
import itertools
from pathlib import Path
from typing import Any, NamedTuple

from marinenav_env.envs.contract.stage import COLUMNS, stages_of
from scripts.command_line import InputError, reason
from torchrl_gpu.settings.parse import ConfigError, read_config

MOST_EPISODES = 100_000
"""Of a stage, as in a config."""


class Task(NamedTuple):
    """What to evaluate on: world, episodes in order, settings of stages, stage of each episode, discount."""

    env: Any
    episodes: list[dict]
    stages: list[dict[str, Any]]
    stage_of: list[int]
    discount: float


def make_task(args: argparse.Namespace) -> Task:
    """The episodes that a command line asks for; InputError or ConfigError where there are none."""
    if args.config is None and (args.per_stage, args.episode_seed) != (None, None):
        raise InputError("--per-stage and --episode-seed draw episodes for -C; -E gives its own")
    if args.per_stage is not None and not 1 <= args.per_stage <= MOST_EPISODES:
        raise InputError(f"--per-stage is {args.per_stage}, allowed is 1 to {MOST_EPISODES}")
    if args.episode_seed is not None and not 0 <= args.episode_seed < 2**32:
        raise InputError(f"--episode-seed is {args.episode_seed}, allowed is 0 to {2**32 - 1}")
    if args.config is None:
        return task_from_episodes(args.eval_configs)
    return task_from_config(args.config, args.per_stage, args.episode_seed)


def task_from_config(path: Path, per_stage: int | None = None, seed: int | None = None) -> Task:
    """Draw a config's evaluation episodes as training does, or as many of each stage, or from a seed."""
    from torchrl_gpu.evaluation.one_by_one import create_eval_configs

    trials = read_config(path).trials
    discounts = {trial["discount"] for trial in trials}
    if len(discounts) > 1:
        raise ConfigError(f"{path}: key 'discount' has {len(discounts)} values; an evaluation needs one")
    schedule = dict(trials[0]["eval_schedule"])
    if per_stage is not None:
        schedule["num_episodes"] = [per_stage] * len(schedule["num_episodes"])
    env = evaluation_world(seed)
    episodes = create_eval_configs(env, schedule)
    stages = [dict(zip(COLUMNS, stage, strict=True)) for stage in stages_of(schedule)]
    stage_of = [stage for stage, number in enumerate(schedule["num_episodes"]) for _ in range(number)]
    return Task(env, episodes, stages, stage_of, discounts.pop())


def task_from_episodes(path: Path) -> Task:
    """Read the evaluation episodes of a run; a stage is a row of episodes with equal settings."""
    from agents.learners.base import LearnerSettings

    env = evaluation_world()
    episodes = read_usable_episodes(path, env)
    # The trainer leaves the last stage's number on its world, where it bounds the sensor seeds of all
    # episodes (Quirk W26).
    env.num_robots = episodes[-1]["env"]["num_robots"]
    return Task(env, episodes, *stages_in(episodes), LearnerSettings.model_fields["discount"].default)


def stages_in(episodes: list[dict]) -> tuple[list[dict[str, int]], list[int]]:
    """Rows of episodes with equal settings: those settings, and the row of each episode."""
    settings = [
        {
            "num_robots": episode["env"]["num_robots"],
            "num_cores": len(episode["env"]["cores"]["positions"]),
            "num_obstacles": len(episode["env"]["obstacles"]["positions"]),
        }
        for episode in episodes
    ]
    rows = [(stage, len(list(row))) for stage, row in itertools.groupby(settings)]
    return [stage for stage, _ in rows], [k for k, (_, number) in enumerate(rows) for _ in range(number)]


def read_usable_episodes(path: Path, env: Any) -> list[dict]:
    """Read episodes and load each into a world, so that a malformed one is refused before any is played."""
    from marinenav_env.envs.contract.episode import read_episodes
    from scripts.drawing.episodes import check_dimensions

    robots = []
    try:
        episodes = read_episodes(path)
        for number, episode in enumerate(episodes):
            robots.append(len(env.reset_with_eval_config(episode)[0]))
            check_dimensions(env, f"{path}: episode {number}")
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except Exception as error:  # there is no end to what a number in the wrong place can raise
        raise InputError(f"{path}: not evaluation episodes: {reason(error)}") from error
    if 0 in robots or not robots:
        raise InputError(f"{path}: holds no episode, or one without robots")
    return episodes


def evaluation_world(seed: int | None = None) -> Any:
    """The world of every evaluation, or one that draws other episodes."""
    from marinenav_env.envs import MarineNavEnv3
    from torchrl_gpu.seeding import EVAL_SEED

    return MarineNavEnv3(seed=EVAL_SEED if seed is None else seed, is_eval_env=True)
