"""Prove on a device, in one call, that all works there as on the CPU, and measure how fast.

On a machine that has torch, and the wheels that `docs/how-to/go-fast.md` names in a folder, it takes two:
``python -m pip install --no-deps wheels/*.whl``, then ``python -m scripts.gpu_check -D cuda``.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.command_line import agent_type, command, markdown_table, new_parser, output_path, refused, run
from torchrl_gpu.program import duration, positive
from torchrl_gpu.runs.job import one_thread
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.settings.parse import ConfigError

if TYPE_CHECKING:
    from scripts.measuring.gpu import Part

NAME = "gpu_check"
DESCRIPTION = """\
Prove on a device, in one call, that all works there as on the CPU, and measure how fast.

  machine       hardware and versions
  tests         the tests marked gpu, in a process of their own
  world-parity  the same episodes and actions in a world on the CPU and in one on the device, in float64
  update-parity twenty updates of each learner on both, from equal weights, batches and noise
  world-speed   robot-steps in a second, eager and compiled
  learners      update, training, collection and evaluation of each learner
  kernels       share of a training loop in which the device has nothing to do, waits of the host, memory
  recipe        the quickstart, and the success of what it learned in 200 fresh episodes

Then the goals for a GPU, each reached, missed or not measured. A part that fails says why in a line, and the
next one goes on. Each has a share of the time: what does not fit is left out, which is said. After each part
the report is written, and beside it, in a file that ends in .md, as tables. Sizes are small on a CPU.

Exit status: 0 done, 1 something failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/gpu_check.py -D cuda -o h100.json
  python scripts/gpu_check.py --parts update-parity --agents DQN SAC"""

PARTS = ("machine", "tests", "world-parity", "update-parity", "world-speed", "learners", "kernels", "recipe")
SIZES: dict[str, dict[str, Any]] = {
    "cpu": {"seconds": 0.2, "num_envs": 64, "world_envs": [64, 256], "recipe_timesteps": 20_000},
    "cuda": {
        "seconds": 1.0,
        "num_envs": 1024,
        "world_envs": [1024, 4096, 16384, 65536],
        "recipe_timesteps": 250_000,
    },
}
"""What is measured where the command line says nothing."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("-o", "--output", type=Path, default=Path("gpu_check.json"), help="default: %(default)s")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    add("--agents", nargs="+", type=agent_type, help="default: all")
    add("--minutes", type=duration, default=7.0, help="for all parts (default: %(default)s)")
    add("--seconds", type=duration, help="of each speed (default: 1 on a GPU, 0.2 on a CPU)")
    add("--num-envs", type=positive, help="of loops and world-parity; collection has four times as many")
    add("--world-envs", type=positive, nargs="+", help="of world-speed (default: 1024 to 65536 on a GPU)")
    add("--recipe-timesteps", type=positive, help="default: all 250000 on a GPU, 20000 on a CPU")
    flag = argparse.BooleanOptionalAction
    add("--compile", action=flag, help="measure what is compiled, too (default: on a GPU with a compiler)")
    return parser


def complete(args: argparse.Namespace) -> None:
    """Refuse what is impossible, and fill in what was not said."""
    output_path(args.output, (".json",))
    output_path(args.output.with_suffix(".md"), (".md",))
    with refused(ConfigError):
        check_device(args.device)
    import torch  # seconds: help, version and wrong usage do not wait for it

    from agents.learners import LEARNERS
    from torchrl_gpu.learn.ways import can_compile

    kind = torch.device(args.device).type
    compiles = kind == "cuda" and can_compile(kind)
    for name, value in {"agents": list(LEARNERS), "compile": compiles, **SIZES[kind]}.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def goals(parts: dict[str, "Part"], on_gpu: bool) -> list[dict[str, str]]:
    """What a GPU should reach, and whether it does."""
    rows = {name: part.rows if on_gpu else [] for name, part in parts.items()}
    speeds = {"update": [], "training": []}
    for row in rows.get("learners", ()):
        if row["agent"] == "AC-IQN" and row["measure"] in speeds and row["pipeline"] != "products alone":
            speeds[row["measure"]].append(row["per_s"])
    worlds = [row["robot-steps/s"] for row in rows.get("world-speed", ())]
    updates = [1000 / speed for speed in speeds["update"]]
    minutes = [6e6 / speed / 60 for speed in speeds["training"]]
    waits = [row["waits per 1000 timesteps"] for row in rows.get("kernels", ())]
    return [
        verdict("world: 100 million robot-steps/s", worlds, 1e8, best=max),
        verdict("update of AC-IQN at batch 64: 0.3 ms", updates, 0.3),
        verdict("legacy schedule of AC-IQN, evaluations apart: 10 minutes", minutes, 10),
        verdict("waits of the host in 1000 timesteps of the loop: 0", waits, 0),
    ]


def verdict(goal: str, found: Sequence[float], limit: float, best: Any = min) -> dict[str, str]:
    """Of a goal that the best of what was measured should come to."""
    if not found:
        return {"goal": goal, "verdict": "not measured"}
    value = best(found)
    reached = best(value, limit) == value
    return {"goal": goal, "verdict": f"{'reached' if reached else 'missed'}: {cell(value)}"}


def markdown(report: dict[str, Any]) -> str:
    """A report as tables."""
    text = f"# {report['command']}\n\n{report['time']}\n\n{rows_table(report['goals'])}"
    for name, part in report["parts"].items():
        said = [f"failed: {line}" for line in part["failed"]]
        said += [f"left out: {line}" for line in part["left_out"]]
        text += f"\n## {name}: {part['seconds']:.0f} s\n\n"
        text += "".join(f"* {line}\n" for line in said) + "\n" * bool(said) + rows_table(part["rows"])
    return text


def rows_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table, all but what is too long for one."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "rounds"]
    lines = [[cell(row.get(name, "")) for name in names] for row in rows]
    return markdown_table(names, lines, left=1) if rows else ""


def cell(value: Any) -> str:
    """A value for a table."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(each)}" for name, each in value.items())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return str(value)


def work(argv: Sequence[str] | None) -> int:
    """Check, do the parts, write, print."""
    args = build_parser().parse_args(argv)
    complete(args)
    from marinenav_env.files import write_text
    from scripts.measuring.gpu import PARTS as KNOWN
    from scripts.measuring.gpu import Check, Part

    report: dict[str, Any] = {"command": command(NAME, argv), "time": f"{datetime.now():%Y-%m-%d %H:%M}"}
    report["settings"] = {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()}
    chosen = {name: known for name, known in KNOWN.items() if name in args.parts}
    second = 60 * args.minutes / sum(share for _, share in chosen.values())
    deadline, parts = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as folder, one_thread():
        check = Check(args, Path(folder))
        for name, (do, share) in chosen.items():
            print(f"{datetime.now():%H:%M:%S} {name}", file=sys.stderr, flush=True)
            deadline += share * second
            parts[name] = Part(deadline)
            parts[name].run(do, check)
            report["goals"] = goals(parts, check.on_gpu)
            report["parts"] = {name: asdict(part) for name, part in parts.items()}
            write_text(args.output, json.dumps(report, indent=1))
            write_text(args.output.with_suffix(".md"), markdown(report))
    print(markdown(report))
    return int(any(part.failed for part in parts.values()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
