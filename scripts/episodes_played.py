"""The episodes that `scripts/evaluate.py` plays: drawn as a config says, or those of a run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.command_line import InputError, reason
from torchrl_gpu.settings.parse import ConfigError, read_config

if TYPE_CHECKING:
    from torchrl_gpu.evaluation.task import Task

MOST_EPISODES = 100_000
"""Of a stage, as in a config."""
LEGACY_PER_STAGE = 10
"""Episodes of each stage in the legacy evaluation."""


def make_task(args: argparse.Namespace) -> "Task":
    """The episodes that a command line asks for; InputError or ConfigError where there are none."""
    if args.config is None and (args.per_stage, args.episode_seed) != (None, None):
        raise InputError("--per-stage and --episode-seed draw episodes for -C; -E gives its own")
    if args.per_stage is not None and not 1 <= args.per_stage <= MOST_EPISODES:
        raise InputError(f"--per-stage is {args.per_stage}, allowed is 1 to {MOST_EPISODES}")
    if args.episode_seed is not None and not 0 <= args.episode_seed < 2**32:
        raise InputError(f"--episode-seed is {args.episode_seed}, allowed is 0 to {2**32 - 1}")
    if args.config is None:
        return task_of_file(args.eval_configs)
    return task_of_config(args.config, args.per_stage, args.episode_seed)


def task_of_config(path: Path, per_stage: int | None, seed: int | None) -> "Task":
    """Draw a config's evaluation episodes as training does, or as many of each stage, or from a seed."""
    from torchrl_gpu.evaluation.task import Task
    from torchrl_gpu.seeding import EVAL_SEED

    trials = read_config(path).trials
    discounts = {trial["discount"] for trial in trials}
    if len(discounts) > 1:
        raise ConfigError(f"{path}: key 'discount' has {len(discounts)} values; an evaluation needs one")
    seed = EVAL_SEED if seed is None else seed
    return Task.drawn(trials[0]["eval_schedule"], discounts.pop(), seed, per_stage)


def task_of_file(path: Path) -> "Task":
    """The evaluation episodes of a run; a bad one is refused before any is played."""
    from agents.learners.base import LearnerSettings
    from torchrl_gpu.evaluation.task import Task

    return Task.of(usable_episodes(path), LearnerSettings.model_fields["discount"].default)


def usable_episodes(path: Path) -> list[dict]:
    """Read episodes that a world can play; InputError for others."""
    from marinenav_env.envs import MarineNavEnv3
    from marinenav_env.envs.contract.episode import read_episodes
    from scripts.drawing.episodes import check_dimensions

    world, robots = MarineNavEnv3(), []
    try:
        episodes = read_episodes(path)
        for number, episode in enumerate(episodes):
            robots.append(len(world.reset_with_eval_config(episode)[0]))
            check_dimensions(world, f"{path}: episode {number}")
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except Exception as error:  # there is no end to what a number in the wrong place can raise
        raise InputError(f"{path}: not evaluation episodes: {reason(error)}") from error
    if 0 in robots or not robots:
        raise InputError(f"{path}: holds no episode, or one without robots")
    return episodes
