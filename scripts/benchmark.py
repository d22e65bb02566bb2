"""Measure the TorchRL pipeline against the legacy one: same config, same process, taking turns."""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.command_line import InputError, command, new_parser, output_path, refused, run
from scripts.measuring.scope import Scope, without_sweeps
from torchrl_gpu.program import duration, positive, table
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.settings.parse import ConfigError, read_config

NAME = "benchmark"
DESCRIPTION = """\
Measure both pipelines on one stage of a config's curriculum, in turns within one process, after a warm-up.

  reproduction the same run in both pipelines, draw for draw: its second half
  training     the whole loop: act, step, store, sample, update, at the update ratio of the config
  collection   act, step, store; no learning
  update       one update, eager and compiled, against its matrix products alone, which come first
  seeds        one update of each of several seeds, one after the other and as one
  evaluation   all episodes of the eval_schedule, one after another and side by side
  replay       storing transitions and drawing batches of 64, from memories of different sizes

A line gives a rate, and the median over the rounds of its ratio to the first rate of the same round, by
wall time and by CPU time: on a machine that others use too, trust the second. Loops of TorchRL also say where
their time goes. Compiling takes minutes for each agent and number of environments, before anything is timed.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/benchmark.py
  python scripts/benchmark.py --agents DQN SAC --measure training --num-envs 1 64 1024
  python scripts/benchmark.py -D cuda -o gpu.json"""

MEASUREMENTS = ("reproduction", "training", "collection", "update", "seeds", "evaluation", "replay")


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("-C", "--config", type=Path, default=Path("config/ac_iqn.json"), help="default: %(default)s")
    add("-D", "--device", help="cpu, cuda or cuda:N, for both (default: %(default)s)")
    add("--measure", nargs="+", choices=MEASUREMENTS, default=MEASUREMENTS, help="default: all")
    add("--agents", nargs="+", help="default: all")
    add("--stage", type=int, help="of the training_schedule, from 0 (default: the last)")
    add("--timesteps", type=positive, help="of a reproduction run (default: %(default)s)")
    add("--num-envs", nargs="+", type=positive, help="training (default: 1024)")
    add("--collect-envs", nargs="+", type=positive, help="collection (default: 4096)")
    add("--seeds", type=positive, help="seeds (default: %(default)s)")
    add("--sizes", nargs="+", type=positive, help="replay (default: 10^4 to 10^6)")
    add("--rounds", type=positive, help="of each way, in turns (default: %(default)s)")
    add("--seconds", type=duration, help="least length of a loop's round (default: %(default)s)")
    add("--warm-up", type=positive, help="timesteps before learning (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads of torch (default: %(default)s)")
    flag = argparse.BooleanOptionalAction
    add("--compile", action=flag, help="compile throughput mode (default: yes)")
    add("-o", "--output", type=Path, default=Path("benchmark.json"), help="default: %(default)s")
    parser.set_defaults(**asdict(Scope()))
    return parser


def scope_of(args: argparse.Namespace) -> Scope:
    """How much is asked for."""
    return Scope(**{each.name: getattr(args, each.name) for each in fields(Scope)})


def usable(args: argparse.Namespace) -> dict[str, Any]:
    """The config with the first value of every sweep, once all that is asked for is known to be possible."""
    from agents.learners import LEARNERS  # torch takes seconds
    from scripts import train_rl_agents

    args.agents = args.agents or list(LEARNERS)
    for agent in args.agents:
        if agent not in LEARNERS:
            raise InputError(f"--agents {agent}: must be of {', '.join(LEARNERS)}")
    with refused(ConfigError):
        experiment = read_config(args.config)
        check_device(args.device)
        train_rl_agents.check(experiment.trials[0], 1)
    stages = len(experiment.written["training_schedule"]["timesteps"])
    if not -stages <= args.stage < stages:
        raise InputError(f"--stage {args.stage} does not exist; allowed are {-stages} to {stages - 1}")
    return without_sweeps(experiment.written)


def rates_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rates, ratios and parts of rows as aligned text."""
    labels = [key for key in ("agent", "pipeline", "stored", "unit") if key in rows[0]]
    lines = [
        [
            *(str(row[key]) for key in labels),
            *(f"{row[key]:,.{0 if row[key] >= 100 else 2}f}" for key in ("per_s", "per_cpu_s")),
            *(f"{row[key]:.2f}" for key in ("x_wall", "x_cpu")),
            ", ".join(f"{part} {us:.1f}" for part, us in row["parts_us"].items()),
        ]
        for row in rows
    ]
    return table([*labels, "per s", "per CPU s", "x wall", "x CPU", "us by part"], lines, left=len(labels))


def work(argv: Sequence[str] | None) -> None:
    """Check, measure, print, write."""
    args = build_parser().parse_args(argv)
    output_path(args.output, (".json",))
    written = usable(args)
    import torch  # seconds: help, version and wrong usage do not wait for it

    from marinenav_env.files import write_text
    from scripts.measuring import pipelines, updates
    from torchrl_gpu.runs.surroundings import machine, versions

    logging.getLogger("torchrl").setLevel(logging.WARNING)  # it reports every storage on standard output
    torch.set_num_threads(args.threads)
    results: dict[str, Any] = {
        "command": command(NAME, argv),
        "time": datetime.now().isoformat(timespec="seconds"),
        "machine": machine(args.device),
        "versions": versions(),
        "settings": {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = pipelines.Bench(scope_of(args), written, pipelines.Clock.of(args.device), Path(folder))
        of_agents = {**pipelines.OF_AGENTS, "update": updates.update, "seeds": updates.seeds}
        for name in args.measure:
            measure = of_agents.get(name)
            agents = args.agents if measure else ()
            results[name] = [] if measure else pipelines.replay(bench)
            for agent in agents:
                print(f"{datetime.now():%H:%M:%S} {name}: {agent}", file=sys.stderr, flush=True)
                results[name] += measure(bench, agent)
            print(f"{name}\n{rates_table(results[name])}\n", flush=True)
    write_text(args.output, json.dumps(results, indent=1))
    print(args.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
