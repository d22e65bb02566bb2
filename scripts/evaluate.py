"""Evaluate a trained model on fixed episodes, exactly as the trainer does (training spec 3 and 5)."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from scripts.command_line import (
    InputError,
    agent_type,
    model_refused,
    new_parser,
    output_path,
    pick,
    reason,
    refused,
    run,
)
from scripts.episodes_played import LEGACY_PER_STAGE, make_task, task_of_file
from scripts.tabulating.diagnosis import ending_of, endings_table, worst_episodes
from torchrl_gpu.evaluation.metrics import SHOWN, EpisodeResult, Shown
from torchrl_gpu.program import table
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.settings.parse import ConfigError
from torchrl_gpu.settings.reference import allowed, schema_of
from torchrl_gpu.settings.sections import RunSettings

if TYPE_CHECKING:
    from agents.agent import Agent
    from torchrl_gpu.evaluation.task import Task

DESCRIPTION = """\
Evaluate a model on the evaluation episodes of a config, or on those of an eval_configs.json, and report
success rate, mean return, and mean time and energy over successful episodes, per stage and in total. The
reference world plays one episode after another, as the legacy evaluation does; --backend torch plays all side
by side in the tensor world, many times faster, with draws of its own. Stochastic agents act by random draws;
--seed makes their evaluation repeatable.

--diagnose also counts how the episodes ended (success, a vessel or a buoy hit, time-out), stage by stage, and
names the worst five. With --record RUN in place of a model it does so for an evaluation that a run has
recorded; with --keep FOLDER what is played can be looked at: marinenav view FOLDER.

A model is a legacy model folder, which acts in float32, or a released file traced_<TYPE>_model.pt, which acts
in float64. TorchScript files carry code: loading an untrusted one with torch.jit.load can run whatever its
author put there. This program reads only the parameters, as data, without loading the code. --trust allows
torch.jit.load for a file that cannot be read that way: use it for files from people you trust.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/evaluate.py -M runs/training_STAMP/seed_0 -C config/ac_iqn.json -o ac_iqn.json
  python scripts/evaluate.py -M traced_AC_IQN_model.pt -E runs/training_STAMP/seed_0/eval_configs.json
  python scripts/evaluate.py -M runs/training_STAMP/seed_0/best -C config/ac_iqn.json --episode-seed 7
  python scripts/evaluate.py -M runs/training_STAMP/seed_0 -C config/ac_iqn.json --backend torch --diagnose
  python scripts/evaluate.py --record runs/training_STAMP/seed_0 --diagnose
  python scripts/evaluate.py --zoo sac --backend torch"""

KEPT = ("eval_configs.json", "evaluations.npz")
"""What --keep writes."""
STAGE_COLUMNS = {"num_robots": "robots", "num_cores": "cores", "num_obstacles": "obstacles"}
METRIC_COLUMNS = {"episodes": Shown("episodes", "", "d"), **SHOWN}


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("evaluate", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-M", "--model", type=Path, help="model folder or traced file")
    what.add_argument("--zoo", help="a policy of the zoo, by its name: see marinenav zoo")
    what.add_argument(
        "--record", type=Path, metavar="RUN", help="trial folder whose recorded evaluation counts"
    )
    add("--evaluation", type=int, default=-1, help="with --record: which one (default: the last)")
    episodes = parser.add_mutually_exclusive_group()
    episodes.add_argument("-C", "--config", type=Path, help="config whose eval_schedule gives the episodes")
    episodes.add_argument(
        "-E", "--eval-configs", type=Path, help="eval_configs.json of a run: a list of episodes"
    )
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--backend", choices=("numpy", "torch"), default="numpy", help="world (default: %(default)s)")
    add("--compile", action="store_true", help="compile the tensor world: a minute first, then faster")
    add("--dtype", choices=("float32", "float64"), help="default: float32 for folders, float64 traced")
    add("--agent-type", type=agent_type, help="type of the model (default: told by its files)")
    add("--seed", type=int, default=0, help="seed of the random draws (default: %(default)s)")
    add("--per-stage", type=int, metavar="N", help="with -C: episodes of each stage instead of the config's")
    add("--episode-seed", type=int, metavar="SEED", help="with -C: draw other episodes than training runs")
    add("--trust", action="store_true", help="allow executing a traced file; see above")
    add("--diagnose", action="store_true", help="say how the episodes ended, and which went worst")
    add(
        "--keep", type=Path, metavar="FOLDER", help="existing folder for episodes and histories, to be viewed"
    )
    output = Path("evaluation.json")
    add("-o", "--output", type=Path, default=output, help="JSON report (default: %(default)s)")
    return parser


def take_from_zoo(args: argparse.Namespace) -> None:
    """Fill in the model and, unless others are given, episodes of its config, as many as legacy ones."""
    with refused(ValueError):
        args.model = models.folder(args.zoo)
    if args.config is None and args.eval_configs is None:
        args.config = args.model / "config.json"
        args.per_stage = LEGACY_PER_STAGE if args.per_stage is None else args.per_stage


def check(args: argparse.Namespace) -> None:
    """Refuse arguments that do not fit together."""
    if args.zoo is not None:
        take_from_zoo(args)
    if args.record is None and args.config is None and args.eval_configs is None:
        raise InputError("-C or -E is needed: the episodes that the model plays")
    if args.record is not None and (args.config or args.eval_configs or args.keep):
        raise InputError("--record has episodes of its own: no -C, -E or --keep")
    if args.compile and args.backend != "torch":
        raise InputError("--compile needs --backend torch")
    if args.keep is not None and not args.keep.is_dir():
        raise InputError(f"--keep {args.keep}: is not an existing folder")
    for name in KEPT if args.keep is not None else ():
        if (args.keep / name).exists():
            raise InputError(f"--keep {args.keep}: holds {name} already; give another folder")
    seed = schema_of(RunSettings)["seed"]
    if not seed["minimum"] <= args.seed <= seed["maximum"]:
        raise InputError(f"--seed {args.seed} is not allowed; it must be {allowed(seed)}")


def play(agent: "Agent", task: "Task", args: argparse.Namespace) -> list[EpisodeResult]:
    """Play all episodes in the world that is asked for."""
    if args.backend == "numpy":
        return evaluate(agent, task)
    from torchrl_gpu.evaluation.batched import BatchedEvaluation, RecordSettings

    return BatchedEvaluation(
        agent,
        task.episodes,
        args.device,
        RecordSettings(record_histories=args.diagnose or args.keep is not None),
        dtype=agent.learner.dtype,
        compile=args.compile,
        seed=args.seed,
        verbose=False,
    )()


def evaluate(agent: "Agent", task: "Task") -> list[EpisodeResult]:
    """Play one episode after another, with a progress bar on a terminal."""
    from tqdm import tqdm

    from torchrl_gpu.evaluation.one_by_one import evaluate_episode

    results = []
    for episode in tqdm(task.episodes, desc=agent.agent_type, unit="episode", disable=None):
        try:
            results.append(evaluate_episode(task.world, agent, episode))
        except (TypeError, ValueError, ArithmeticError) as error:  # values that load but cannot be stepped
            raise InputError(f"episode {len(results)} cannot be played: {reason(error)}") from error
    return results


def recorded(folder: Path, evaluation: int) -> tuple["Task", list[EpisodeResult]]:
    """Episodes and results of one evaluation of a trial folder, if they belong together."""
    from torchrl_gpu.evaluation.record import EvaluationFileError, EvaluationRecord

    task = task_of_file(folder / "eval_configs.json")
    with refused(EvaluationFileError):
        record = EvaluationRecord.load(folder)
    results = record.results(pick(evaluation, len(record), "--evaluation"))
    if len(results) != len(task.episodes):
        raise InputError(f"{folder}: {len(task.episodes)} episodes, but results of {len(results)}")
    return task, results


def metrics_table(report: dict[str, Any]) -> str:
    """The report's stages and total as aligned text."""
    header = [*STAGE_COLUMNS.values(), *(each.title for each in METRIC_COLUMNS.values())]
    rows = [[*things(stage), *cells(stage)] for stage in report["stages"]]
    rows.append(["total", *[""] * (len(STAGE_COLUMNS) - 1), *cells(report["total"])])
    return table(header, rows)


def things(stage: dict[str, Any]) -> list[str]:
    """How many robots, cores and obstacles were in the episodes of a stage, on average."""
    return ["-" if stage[key] is None else f"{stage[key]:.3g}" for key in STAGE_COLUMNS]


def cells(values: dict[str, Any]) -> list[str]:
    """Formatted metrics; a dash where no episode succeeded."""
    return [
        "-" if values[key] is None else format(values[key], each.form) for key, each in METRIC_COLUMNS.items()
    ]


def diagnose(task: "Task", results: Sequence[EpisodeResult], report: dict[str, Any]) -> str:
    """Add how each episode ended to a report, if the results tell it; the same in words."""
    if not any(result.outcomes or result.trajectories for result in results):
        raise InputError("--diagnose: the record holds neither outcomes nor histories")
    endings = [ending_of(*each) for each in zip(task.episodes, results, strict=True)]
    for episode, ending in zip(report["episodes"], endings, strict=True):
        episode["ending"], episode["how"] = ending
    returns = [result.reward for result in results]
    worst = worst_episodes(endings, returns, task.stage_of) or ["every episode succeeded"]
    sizes = [things(stage) for stage in report["stages"]]
    return "\n".join(["", endings_table(sizes, task.stage_of, endings), "", *worst])


def played(args: argparse.Namespace) -> tuple["Task", list[EpisodeResult], dict[str, Any]]:
    """Play what is asked for; task, results, and what a report says about the model."""
    # Imported here: torch takes seconds, and help, version and wrong usage need none of it.
    import torch

    from agents.models.files import ModelFileError
    from agents.models.folder import load_agent
    from torchrl_gpu.seeding import seed_everything

    with refused(ConfigError), model_refused(args.model, ModelFileError):
        check_device(args.device)
        dtype = getattr(torch, args.dtype) if args.dtype else None
        agent = load_agent(args.model, args.device, dtype, args.agent_type, args.trust)
        task = make_task(args)
    agent.GAMMA = task.discount
    seed_everything(args.seed)
    model = {
        "model": str(args.model),
        "agent_type": agent.agent_type,
        "dtype": str(agent.learner.dtype).removeprefix("torch."),
        "device": args.device,
        "backend": args.backend,
        "seed": args.seed,
        "discount": task.discount,
    }
    return task, play(agent, task, args), model


def work(argv: Sequence[str] | None) -> None:
    """Evaluate, print, write."""
    args = build_parser().parse_args(argv)
    check(args)
    output_path(args.output, (".json",))
    if args.record is None:
        task, results, model = played(args)
    else:
        task, results = recorded(args.record, args.evaluation)
        model = {"record": str(args.record), "evaluation": args.evaluation}
    report = model | task.report(results)
    print(metrics_table(report))
    if args.diagnose:
        print(diagnose(task, results, report))
    if args.keep is not None:
        print(task.keep(args.keep, results))
    from marinenav_env.files import write_text

    write_text(args.output, json.dumps(report, indent=2))
    print(args.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("evaluate", work, argv)


if __name__ == "__main__":
    sys.exit(main())
