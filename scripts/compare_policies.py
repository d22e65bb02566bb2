"""Compare policies, learned and classical ones, on one ladder of scenarios and in the standard encounters."""

import argparse
import csv
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from marinenav_env.files import replacing, write_text
from scripts.command_line import InputError, new_parser, output_path, refused, run
from scripts.tabulating.comparison import markdown, totals
from torchrl_gpu.program import positive
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.settings.errors import ConfigError
from torchrl_gpu.settings.overrides import parse_overrides

if TYPE_CHECKING:
    from torchrl_gpu.evaluation.comparison import Performance, Plan, Work
    from torchrl_gpu.evaluation.ladder import Cell

DESCRIPTION = """\
Let policies play the same episodes and compare them: success, collisions by kind, time-outs, time, energy,
path over straight line, smallest gaps, traffic rule kept, time of a decision, with 95 % confidence intervals.

A policy is a model folder (the folder of a trial), a released file traced_<TYPE>_model.pt, one of the zoo by
its name (see marinenav zoo), or a classical one: APF (artificial potential fields), ORCA (optimal reciprocal
collision avoidance), both also as APF-discrete and ORCA-discrete. NAME=POLICY gives it another name. In every
episode all vessels follow the policy.

The ladder has every combination of --vessels, --buoys and --vortices (of the current), and --episodes of
each. The 22 encounters of Imazu are played --encounters times each.

Written into the folder -o: comparison.json with every number, comparison.md (tables), ladder.csv,
encounters.csv, ladder.png (success as heat maps), and encounters_NAME.png (tracks on 22 maps).

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/compare_policies.py ORCA APF ours=runs/training_STAMP/seed_0 -o comparison
  python scripts/compare_policies.py traced_AC_IQN_model.pt ORCA --vessels 3..5 --buoys 0,4 --vortices 0"""


COMPILED = 60_000
"""Episodes of all policies with which compiling the step of the world takes no more time than it saves."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("compare_policies", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("policies", nargs="+", metavar="POLICY", help="[NAME=] model folder, released file, or name")
    add("-o", "--output", type=Path, default=Path("comparison"), help="folder (default: %(default)s)")
    add("--vessels", type=numbers(1, 100), default=[*range(3, 9)], help="default: 3..8", metavar="N")
    add("--buoys", type=numbers(0, 100), default=[0, 2, 4, 6, 8], help="default: 0,2,4,6,8", metavar="N")
    add("--vortices", type=numbers(0, 100), default=[0, 4], help="default: 0,4", metavar="N")
    add("--episodes", type=positive, default=300, help="of each cell (default: %(default)s)")
    add("--encounters", type=int, default=20, help="times; 0: none (default: %(default)s)", metavar="N")
    add("--seed", type=int, default=31_000, help="of the episodes (default: %(default)s)")
    add("-P", "--num-procs", type=positive, default=1, help="processes (default: %(default)s)")
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--trust", action="store_true", help="allow executing a traced file; see marinenav evaluate")
    return parser


def numbers(low: int, high: int) -> Any:
    """A reader of ``3``, ``0,4`` or ``3..8`` for argparse."""

    def read(text: str) -> list[int]:
        try:
            value = parse_overrides([f"numbers={text}"])["numbers"]
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(n, int) and low <= n <= high for n in found):
            raise argparse.ArgumentTypeError(f"{text!r} is not whole numbers from {low} to {high}")
        return sorted(set(found))

    return read


def named(policies: Sequence[str]) -> dict[str, str]:
    """Sources by label; InputError where two share one."""
    found: dict[str, str] = {}
    for text in policies:
        label, equals, source = text.partition("=")
        source = source if equals else text
        label = label if equals else label_of(Path(source))
        source = from_zoo(source)
        if label in found:
            raise InputError(f"{text}: another policy is called {label}; give it a name, NAME={source}")
        if not label or "/" in label:
            raise InputError(f"{text}: the name of a policy must be a part of a file name")
        found[label] = source
    return found


def from_zoo(source: str) -> str:
    """The folder of a policy of the zoo, else what is given."""
    return str(models.folder(source)) if source in models.names() and not Path(source).exists() else source


def label_of(path: Path) -> str:
    """What a policy is called: a folder of a run by its last two names."""
    if path.is_dir():
        return "-".join(path.resolve().parts[-2:])
    return path.stem


def check(args: argparse.Namespace, sources: Mapping[str, str]) -> None:
    """Refuse, before anything is played, what cannot be, and files that cannot be written."""
    from agents.models.files import ModelFileError
    from agents.policies import load_policy
    from torchrl_gpu.seeding import kept_generators

    for name, value, high in (("--seed", args.seed, 2**32 - 2), ("--encounters", args.encounters, 10_000)):
        if not 0 <= value <= high:
            raise InputError(f"{name} is {value}, allowed is 0 to {high}")
    with refused(ConfigError, ModelFileError):
        check_device(args.device)
        with kept_generators(args.device):
            for source in sources.values():
                load_policy(source, args.device, trust=args.trust)
    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"{args.output}: is a file, not a folder")
    args.output.mkdir(parents=True, exist_ok=True)
    names = ["comparison.json", "comparison.md", "ladder.csv", "ladder.png"]
    if args.encounters:
        names += ["encounters.csv", *(f"encounters_{label}.png" for label in sources)]
    for name in names:
        output_path(args.output / name, (Path(name).suffix,))


@contextmanager
def workers(number: int) -> Iterator[Any]:
    """A `map` over tasks that uses so many processes, each with one thread."""
    from torchrl_gpu.evaluation.comparison import single_thread
    from torchrl_gpu.runs.job import one_thread

    if number == 1:
        with one_thread():
            yield map
        return
    context = multiprocessing.get_context("spawn")
    pool: Executor
    with ProcessPoolExecutor(number, context, initializer=single_thread) as pool:
        yield pool.map


def compare(sources: Mapping[str, str], args: argparse.Namespace) -> dict[str, "Performance"]:
    """Let every policy play everything."""
    from torchrl_gpu.evaluation.comparison import Performance, Plan, Work
    from torchrl_gpu.evaluation.ladder import batches, cells

    ladder = batches(cells(args.vessels, args.buoys, args.vortices))
    compiled = repaid(len(sources) * args.episodes * sum(map(len, ladder)), args.device)
    plan = Plan(args.episodes, args.seed, args.encounters, args.device, args.trust, compiled)
    rungs = [*reversed(ladder), *([()] if args.encounters else [])]  # the longest first
    tasks = [(label, Work(source, rung)) for label, source in sources.items() for rung in rungs]
    outcomes = {label: Performance() for label in sources}
    with workers(args.num_procs) as each:
        done = each(perform_of, [task for _, task in tasks], [plan] * len(tasks))
        for (label, task), outcome in zip(tasks, done, strict=True):
            outcomes[label] |= outcome
            what = vessels_of(task.batch) if task.batch else "encounters"
            print(f"{label}: {what} played", file=sys.stderr, flush=True)
    return outcomes


def repaid(episodes: int, device: str) -> bool:
    """Whether so many episodes repay compiling the step of the world."""
    from torchrl_gpu.learn.ways import can_compile

    return episodes >= COMPILED and can_compile(device.partition(":")[0])


def vessels_of(batch: "Sequence[Cell]") -> str:
    """What a batch is called."""
    fewest, most = min(batch).vessels, max(batch).vessels
    return f"{fewest} vessels" if fewest == most else f"{fewest} to {most} vessels"


def perform_of(task: "Work", plan: "Plan") -> "Performance":
    """`comparison.perform`; torch is imported where it is called."""
    from marinenav_env.envs.torchrl_gpu.compilation import told
    from torchrl_gpu.evaluation.comparison import perform

    with told(lambda line: print(line, file=sys.stderr, flush=True)):
        return perform(task, plan)


def write(
    args: argparse.Namespace,
    sources: Mapping[str, str],
    reports: Mapping[str, Mapping[str, Any]],
    outcomes: Mapping[str, "Performance"],
) -> None:
    """All files."""
    from marinenav_env.envs.reference.imazu import MAP_SIZE
    from scripts.drawing.encounters import sheet
    from scripts.drawing.ladder import heat_maps
    from scripts.drawing.output import save_figure

    keys = ("vessels", "buoys", "vortices", "episodes", "encounters", "seed", "device")
    settings = {key: getattr(args, key) for key in keys}
    content = {label: {"source": sources[label], **report} for label, report in reports.items()}
    report = {"settings": settings, "policies": content}
    write_text(args.output / "comparison.json", json.dumps(report, indent=1))
    write_text(args.output / "comparison.md", markdown(reports))
    write_csv(args.output / "ladder.csv", reports, "cells")
    save_figure(heat_maps(reports, "success", "success"), args.output / "ladder.png")
    if args.encounters:
        write_csv(args.output / "encounters.csv", reports, "encounters")
        for label, outcome in outcomes.items():
            figure = sheet(outcome.encounters, label, MAP_SIZE)
            save_figure(figure, args.output / f"encounters_{label}.png")


def write_csv(path: Path, reports: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """Rows of all policies; an estimate makes three columns."""
    rows = [{"policy": label, **flat(row)} for label, report in reports.items() for row in report[key]]
    with replacing(path, "w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of plain values: estimates with their limits, lists with blanks between."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if hasattr(value, "low"):
            values |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            values[name] = " ".join(map(str, value)) if isinstance(value, list) else value
    return values


def work(argv: Sequence[str] | None) -> None:
    """Play, write, print."""
    args = build_parser().parse_args(argv)
    sources = named(args.policies)
    check(args, sources)
    from torchrl_gpu.evaluation.comparison import report

    outcomes = compare(sources, args)
    reports = {label: report(outcome) for label, outcome in outcomes.items()}
    write(args, sources, reports, outcomes)
    print(totals(reports))
    print(args.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("compare_policies", work, argv)


if __name__ == "__main__":
    sys.exit(main())
