"""Evaluate a trained model on fixed episodes, exactly as the trainer does (training spec 3 and 5)."""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.settings import LearnerSettings
from marinenav_env.envs.contract.stage import COLUMNS, stages_of
from scripts.command_line import InputError, agent_type, new_parser, output_path, reason, run
from torchrl_gpu.evaluation.metrics import EpisodeResult, Metrics
from torchrl_gpu.runs.sweep import check_device
from torchrl_gpu.settings.parse import ConfigError, read_config
from torchrl_gpu.settings.reference import allowed, schema_of
from torchrl_gpu.settings.sections import RunSettings

if TYPE_CHECKING:
    from agents.agent import Agent

DESCRIPTION = """\
Evaluate a model on the evaluation episodes of a config, or on those of an eval_configs.json, in the reference
world, and report success rate, mean return, and mean time and energy over successful episodes, per stage and
in total. IQN and SAC act by random draws; --seed makes their evaluation repeatable.

A model is a legacy model folder, which acts in float32, or a released file traced_<TYPE>_model.pt, which acts
in float64. TorchScript files carry code: loading an untrusted one with torch.jit.load can run whatever its
author put there. This program reads only the parameters, as data, without loading the code. --trust allows
torch.jit.load for a file that cannot be read that way: use it for files from people you trust.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/evaluate.py -M runs/training_2026-01-01-00-00-00/seed_0 -C config/ac_iqn.json
  python scripts/evaluate.py -M traced_AC_IQN_model.pt -E runs/training_2026-01-01-00-00-00/eval_configs.json
  python scripts/evaluate.py -M traced_DQN_model.pt -C config/dqn.json --dtype float32 --output dqn.json"""

STAGE_COLUMNS = {"num_robots": "robots", "num_cores": "cores", "num_obstacles": "obstacles"}
METRIC_COLUMNS = {
    "episodes": ("episodes", "d"),
    "success_rate": ("success", ".3f"),
    "mean_return": ("return", ".2f"),
    "mean_time": ("time (s)", ".2f"),
    "mean_energy": ("energy (N s)", ".0f"),
}


MOST_EPISODES = 100_000
"""Of a stage, as in a config."""


class Task(NamedTuple):
    """What to evaluate on.

    Attributes:
        env: evaluation world.
        episodes: episode dictionaries, in order.
        stages: settings of each stage.
        stage_of: index of each episode's stage.
        discount: discount factor of the returns.
    """

    env: Any
    episodes: list[dict]
    stages: list[dict[str, Any]]
    stage_of: list[int]
    discount: float


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("evaluate", DESCRIPTION, EXAMPLES)
    parser.add_argument("-M", "--model", type=Path, required=True, help="model folder or traced file")
    episodes = parser.add_mutually_exclusive_group(required=True)
    episodes.add_argument("-C", "--config", type=Path, help="config whose eval_schedule gives the episodes")
    episodes.add_argument(
        "-E", "--eval-configs", type=Path, help="eval_configs.json of a run: a list of episodes"
    )
    parser.add_argument("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="precision (default: float32 for folders, float64 traced)",
    )
    parser.add_argument(
        "--agent-type", type=agent_type, help="type of the model (default: told by its files)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the global generators (default: %(default)s)"
    )
    parser.add_argument(
        "--per-stage", type=int, metavar="N", help="with -C: episodes of each stage instead of the config's"
    )
    parser.add_argument(
        "--episode-seed",
        type=int,
        metavar="SEED",
        help="with -C: draw other episodes than every training run",
    )
    parser.add_argument("--trust", action="store_true", help="allow executing a traced file; see above")
    parser.add_argument(
        "--output", type=Path, default=Path("evaluation.json"), help="JSON report (default: %(default)s)"
    )
    return parser


def make_task(args: argparse.Namespace) -> Task:
    """The episodes that a command line asks for.

    Raises:
        InputError: the arguments do not fit together, or the file does not hold usable episodes.
        ConfigError: the config cannot be used.
    """
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
    """Draw the evaluation episodes of a config, as a training run of it does.

    Args:
        path: The config.
        per_stage: Episodes of each stage, if not as many as the config says.
        seed: Of the episodes, if not that of every legacy evaluation.

    Raises:
        ConfigError: the config cannot be used.
    """
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
    """Read the evaluation episodes of a run; a stage is a row of episodes with equal settings.

    Raises:
        InputError: the file does not hold usable episodes.
    """
    env = evaluation_world()
    episodes = read_usable_episodes(path, env)
    # The trainer leaves the last stage's number on its world, where it bounds the sensor seeds of all
    # episodes (Quirk W26).
    env.num_robots = episodes[-1]["env"]["num_robots"]
    settings = [
        {
            "num_robots": episode["env"]["num_robots"],
            "num_cores": len(episode["env"]["cores"]["positions"]),
            "num_obstacles": len(episode["env"]["obstacles"]["positions"]),
        }
        for episode in episodes
    ]
    rows = [(stage, len(list(row))) for stage, row in itertools.groupby(settings)]
    stage_of = [index for index, (_, number) in enumerate(rows) for _ in range(number)]
    discount = LearnerSettings.model_fields["discount"].default
    return Task(env, episodes, [stage for stage, _ in rows], stage_of, discount)


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


def evaluate(agent: "Agent", task: Task) -> list[EpisodeResult]:
    """Play all episodes, with a progress bar on a terminal.

    Raises:
        InputError: one cannot be played.
    """
    from tqdm import tqdm

    from torchrl_gpu.evaluation.one_by_one import evaluate_episode

    results = []
    for episode in tqdm(task.episodes, desc=agent.agent_type, unit="episode", disable=None):
        try:
            results.append(evaluate_episode(task.env, agent, episode))
        except (TypeError, ValueError, ArithmeticError) as error:  # values that load but cannot be stepped
            raise InputError(f"episode {len(results)} cannot be played: {reason(error)}") from error
    return results


def make_report(task: Task, results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Metrics of every stage and in total, and of each episode."""
    rows = [
        [result for result, index in zip(results, task.stage_of, strict=True) if index == stage]
        for stage in range(len(task.stages))
    ]
    totals = [Metrics.of_results(row)._asdict() for row in (*rows, results)]
    return {
        "total": totals.pop(),
        "stages": [setting | total for setting, total in zip(task.stages, totals, strict=True)],
        "episodes": [
            {
                "stage": stage,
                "success": result.success,
                "return": float(result.reward),
                "time": float(result.time),
                "energy": float(result.energy),
            }
            for stage, result in zip(task.stage_of, results, strict=True)
        ],
    }


def table(report: dict[str, Any]) -> str:
    """The report's stages and total as aligned text."""
    header = [*STAGE_COLUMNS.values(), *(title for title, _ in METRIC_COLUMNS.values())]
    rows = [[str(stage[key]) for key in STAGE_COLUMNS] + cells(stage) for stage in report["stages"]]
    rows.append(["total", *[""] * (len(STAGE_COLUMNS) - 1), *cells(report["total"])])
    return "\n".join(
        "  ".join(f"{cell:>{len(title)}}" for cell, title in zip(row, header, strict=True))
        for row in [header, *rows]
    )


def cells(values: dict[str, Any]) -> list[str]:
    """Formatted metrics; a dash where no episode succeeded."""
    return [
        "-" if values[key] is None else format(values[key], spec) for key, (_, spec) in METRIC_COLUMNS.items()
    ]


def work(argv: Sequence[str] | None) -> None:
    """Evaluate, print, write."""
    args = build_parser().parse_args(argv)
    output_path(args.output, (".json",))
    seed = schema_of(RunSettings)["seed"]
    if not seed["minimum"] <= args.seed <= seed["maximum"]:
        raise InputError(f"--seed {args.seed} is not allowed; it must be {allowed(seed)}")
    # Imported here: torch takes seconds, and help, version and wrong usage need none of it.
    import torch

    from agents.models.files import ModelFileError
    from agents.models.folder import load_agent
    from marinenav_env.files import replacing
    from torchrl_gpu.seeding import seed_everything

    try:
        check_device(args.device)
        dtype = getattr(torch, args.dtype) if args.dtype else None
        agent = load_agent(args.model, args.device, dtype, args.agent_type, args.trust)
        task = make_task(args)
    except (ConfigError, ModelFileError) as error:
        raise InputError(str(error)) from error
    agent.GAMMA = task.discount
    seed_everything(args.seed)
    report = {
        "model": str(args.model),
        "agent_type": agent.agent_type,
        "dtype": str(agent.learner.dtype).removeprefix("torch."),
        "device": args.device,
        "seed": args.seed,
        "discount": task.discount,
        **make_report(task, evaluate(agent, task)),
    }
    print(table(report))
    with replacing(args.output, "w") as file:
        json.dump(report, file, indent=2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("evaluate", work, argv)


if __name__ == "__main__":
    sys.exit(main())
