"""Measure the TorchRL pipeline against the legacy one: same config, same process, taking turns."""

import argparse
import json
import logging
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.command_line import InputError, new_parser, output_path, run
from torchrl_gpu.runs.sweep import check_device, positive
from torchrl_gpu.settings.parse import ConfigError, Trial, read_config
from torchrl_gpu.settings.schema import AGENT_TYPES

if TYPE_CHECKING:
    from scripts.benchmarking.pipelines import LegacyPipeline, TorchRLPipeline

NAME = "benchmark_pipelines"
DESCRIPTION = """\
Measure both pipelines on one stage of a config's curriculum, in turns within one process, after a warm-up.

  reproduction the same run in both pipelines, draw for draw: time of its second half, which learns
  training     the whole loop: act, step, store, sample, update; TorchRL with one environment is
               reproduction mode, with more it is throughput mode, at the update ratio of the config
  collection   act, step, store; no learning
  evaluation   all episodes of the eval_schedule, one after another and side by side
  replay       storing 5000 transitions and drawing 64, from memories of different sizes

Ratios are given by wall time and by CPU time: on a machine that others use too, trust the second. Prints
tables, writes JSON with hardware and versions, and a plot. With --compile, compiling takes a minute or more
for each agent and number of environments before anything is timed.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/benchmark_pipelines.py
  python scripts/benchmark_pipelines.py --agents DQN SAC --measure training --num-envs 1 64 1024
  python scripts/benchmark_pipelines.py --device cuda --output gpu.json --plot gpu.png"""

MEASUREMENTS = ("reproduction", "training", "collection", "evaluation", "replay")
LEARNING_CYCLES = 2
"""Cycles with learning before a round counts: the first compiles the update."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("-C", "--config", type=Path, default=Path("config/ac_iqn.json"), help="default: %(default)s")
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N, for both (default: %(default)s)")
    add("--measure", nargs="+", choices=MEASUREMENTS, default=MEASUREMENTS, help="default: all")
    add("--agents", nargs="+", choices=AGENT_TYPES, default=AGENT_TYPES, help="default: all six")
    add("--stage", type=int, default=-1, help="of the training_schedule, from 0 (default: the last)")
    add("--timesteps", type=positive, default=4000, help="of a reproduction run (default: %(default)s)")
    add("--num-envs", nargs="+", type=positive, default=[1024], help="training (default: 1024)")
    add("--collect-envs", nargs="+", type=positive, default=[4096], help="collection (default: 4096)")
    add(
        "--sizes",
        nargs="+",
        type=positive,
        default=[10**4, 10**5, 10**6],
        help="replay (default: 10^4 to 10^6)",
    )
    add("--rounds", type=positive, default=3, help="per pipeline, in turns (default: %(default)s)")
    add("--seconds", type=duration, default=5.0, help="least length of a round (default: %(default)s)")
    add("--eval-rounds", type=positive, default=1, help="evaluations of each kind (default: %(default)s)")
    add(
        "--stored",
        type=positive,
        default=10_000,
        help="transitions in the replay before learning is measured (default: %(default)s)",
    )
    add("--threads", type=positive, default=1, help="CPU threads of torch (default: %(default)s)")
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile throughput mode (default: yes)",
    )
    add("--output", type=Path, default=Path("benchmark.json"), help="default: %(default)s")
    add("--plot", type=Path, default=Path("benchmark.png"), help="default: %(default)s")
    return parser


def duration(text: str) -> float:
    """Seconds above 0, for argparse."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def work(argv: Sequence[str] | None) -> None:
    """Check, measure, print, write."""
    args = build_parser().parse_args(argv)
    output_path(args.output, (".json",))
    output_path(args.plot, (".png", ".pdf", ".svg"))
    trial = usable_trial(args)
    import torch  # seconds: help, version and wrong usage do not wait for it

    from marinenav_env.files import replacing
    from scripts.benchmarking import report
    from scripts.drawing.output import save_figure

    logging.getLogger("torchrl").setLevel(logging.WARNING)  # it reports every storage on standard output
    torch.set_num_threads(args.threads)
    results: dict[str, Any] = {
        "command": shlex.join(["python", f"scripts/{NAME}.py", *(sys.argv[1:] if argv is None else argv)]),
        "time": datetime.now().isoformat(timespec="seconds"),
        "machine": report.machine(args.device),
        "versions": report.versions(),
        "definitions": report.DEFINITIONS,
        "settings": {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()},
    }
    for name in MEASUREMENTS:
        if name in args.measure:
            progress(name)
            results[name] = MEASURE[name](args, trial)
    for name in ("training", "collection"):
        report.add_evaluation(results.get(name, []), results.get("evaluation", []), trial["eval_freq"])
    print("\n\n".join(f"{name}\n{TABLES[name](report)(results[name])}" for name in TABLES if name in results))
    with replacing(args.output, "w") as file:
        json.dump(results, file, indent=1)
    loops = [row for name in ("training", "collection") for row in results.get(name, [])]
    if loops:
        save_figure(report.figure(title(results), loops), args.plot, dpi=110)


def usable_trial(args: argparse.Namespace) -> Trial:
    """The first trial of the config, once everything asked for is known to be possible.

    Raises:
        InputError: It is not.
    """
    try:
        trial = read_config(args.config).trials[0]
        check_device(args.device)
    except ConfigError as error:
        raise InputError(str(error)) from None
    stages = len(trial["training_schedule"]["timesteps"])
    if not -stages <= args.stage < stages:
        raise InputError(f"stage {args.stage} does not exist; allowed are {-stages} to {stages - 1}")
    if trial.changed_throughput_keys:
        names = ", ".join(trial.changed_throughput_keys)
        raise InputError(f"{args.config}: the legacy pipeline knows no {names}; give a config without")
    return trial


def progress(text: str) -> None:
    """Tell whoever waits what is being measured."""
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def measure_loops(args: argparse.Namespace, trial: Trial, num_envs: list[int], learning: bool) -> list[dict]:
    """Rates and time splits of the legacy loop and of the TorchRL loop for each number of environments."""
    return [
        row for agent in args.agents for row in measure_agent(args, trial, agent, sorted(num_envs), learning)
    ]


def measure_agent(
    args: argparse.Namespace, trial: Trial, agent: str, num_envs: list[int], learning: bool
) -> list[dict]:
    """Rows of one agent: legacy first, then TorchRL by the number of environments."""
    from scripts.benchmarking.measuring import measure
    from scripts.benchmarking.report import loop_row

    with built_pipelines(args, trial, agent, num_envs) as pipelines:
        for pipeline in pipelines:
            progress(f"{agent} {pipeline.name} {pipeline.num_envs}: warm-up")
            warm_up(pipeline, args.stored, learning)
        rounds: list[list] = [[] for _ in pipelines]
        for number in range(args.rounds):
            progress(f"{agent}: round {number + 1}")
            for pipeline, done in zip(pipelines, rounds, strict=True):
                done.append(measure(pipeline, args.seconds))
        splits = [measure(pipeline, args.seconds, split=True) for pipeline in pipelines]
        return [
            loop_row(labels(agent, pipeline, learning), done, rounds[0], split)
            for pipeline, done, split in zip(pipelines, rounds, splits, strict=True)
        ]


def labels(agent: str, pipeline: "LegacyPipeline | TorchRLPipeline", learning: bool) -> dict[str, Any]:
    """What a row is about; reproduction mode evaluates as the legacy pipeline does."""
    return {
        "agent": agent,
        "pipeline": pipeline.name,
        "num_envs": pipeline.num_envs,
        "learning": learning,
        "evaluates": "legacy" if pipeline.num_envs == 1 else "torchrl",
    }


@contextmanager
def built_pipelines(
    args: argparse.Namespace, trial: Trial, agent: str, num_envs: list[int]
) -> Iterator[list["LegacyPipeline | TorchRLPipeline"]]:
    """The legacy pipeline and the TorchRL ones, with a folder for what they write."""
    from scripts.benchmarking.pipelines import LegacyPipeline, TorchRLPipeline, make_trial

    fast = {"backend": "torch", "compile": args.compile}
    with tempfile.TemporaryDirectory() as folder:
        legacy = LegacyPipeline(make_trial(trial, agent, args.stage), args.device)
        ours = [
            TorchRLPipeline(
                make_trial(trial, agent, args.stage, num_envs=number, **(fast if number > 1 else {})),
                args.device,
                Path(folder),
            )
            for number in num_envs
        ]
        yield [legacy, *ours]


def warm_up(pipeline: "LegacyPipeline | TorchRLPipeline", stored: int, learning: bool) -> None:
    """Fill the replay; then, if learning is measured, learn for some cycles."""
    from scripts.benchmarking.measuring import measure, run_until

    run_until(pipeline, lambda counts: counts.transitions >= stored)
    if learning:
        pipeline.start_learning()
        measure(pipeline, 0, warm_up=LEARNING_CYCLES)


def measure_reproduction(args: argparse.Namespace, trial: Trial) -> list[dict]:
    """Rows of all agents."""
    from scripts.benchmarking.report import same_run_rows
    from scripts.benchmarking.same_run import measure_same_runs

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for agent in args.agents:
            progress(f"{agent}: reproduction")
            runs = {"rounds": args.rounds, "timesteps": args.timesteps}
            rows += same_run_rows(
                measure_same_runs(trial, agent, args.stage, args.device, Path(folder), **runs)
            )
    return rows


def measure_evaluations(args: argparse.Namespace, trial: Trial) -> list[dict]:
    """Rows of all agents."""
    from scripts.benchmarking.parts import measure_evaluation
    from scripts.benchmarking.report import evaluation_rows

    rows = []
    for agent in args.agents:
        progress(f"{agent}: evaluation")
        own = Trial(trial.values | {"agent_type": agent})
        rows += evaluation_rows(measure_evaluation(own, args.device, args.eval_rounds, args.compile))
    return rows


def measure_replays(args: argparse.Namespace, trial: Trial) -> list[dict]:
    """Rows of all memories and sizes."""
    from scripts.benchmarking.parts import measure_replay

    return measure_replay(trial, args.device, sorted(args.sizes), repeats=10 * args.rounds)


MEASURE: dict[str, Callable[[argparse.Namespace, Trial], list[dict]]] = {
    "reproduction": measure_reproduction,
    "training": lambda args, trial: measure_loops(args, trial, args.num_envs, learning=True),
    "collection": lambda args, trial: measure_loops(args, trial, args.collect_envs, learning=False),
    "evaluation": measure_evaluations,
    "replay": measure_replays,
}
TABLES: dict[str, Callable[[Any], Callable[[list[dict]], str]]] = {
    "reproduction": lambda report: report.same_run_table,
    "training": lambda report: report.loop_table,
    "collection": lambda report: report.loop_table,
    "evaluation": lambda report: report.evaluation_table,
    "replay": lambda report: report.replay_table,
}


def title(results: dict[str, Any]) -> str:
    """Where it was measured, in a line."""
    machine, settings = results["machine"], results["settings"]
    where = machine["device"] if machine["device"] != "cpu" else machine["cpu"]
    return f"{where}, {settings['threads']} CPU thread(s), torch {results['versions']['torch']}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
