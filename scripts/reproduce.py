"""Train the six legacy experiments again, from their configs as they are."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import config
from scripts.command_line import InputError, new_parser, refused, run
from torchrl_gpu.program import positive
from torchrl_gpu.runs.folder import TRIAL_FILE
from torchrl_gpu.runs.listing import RunInfo, differing_keys, list_runs, list_trials, table_of
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.runs.resuming import go_on, read_trial
from torchrl_gpu.settings.parse import ConfigError, Trial, read_config
from torchrl_gpu.train_torchrl_gpu import check, lost_results, run_trial

DESCRIPTION = """\
Train the legacy experiments: the shipped configs of the six agents, unchanged but for what --fast and
key=value say. Each agent and seed has a folder of its own, OUT/AGENT/seed_N. The same command begins what has
not begun, goes on with what was stopped or killed, and leaves alone what is finished or being trained by
another process. Each run keeps a checkpoint, a new one every 300,000 timesteps; with --fast evaluations leave
their histories out, which for 6,000 episodes a run would fill the disk. Neither changes what is learned.

With --table FOLDER nothing is trained: the final model of each finished run plays the legacy evaluation
episodes in the reference world, and --fresh episodes of each stage, drawn from --episode-seed, in the tensor
world; released models may play beside them, as may trials of other configs: with the best model of a trial
that picked it on episodes of its own (eval_seed), else the final one. FOLDER gets reproduction.json and
reproduction_curves.csv, and what is made from them: a table, reproduction.md, and pictures of the learning
curves, reproduction_LABEL.png. What FOLDER knows already is kept, so that these can be made without the runs.

Exit status: 0 all finished, 1 a run failed or was interrupted, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/reproduce.py --fast -o runs/legacy -P 2
  python scripts/reproduce.py --fast -o runs/legacy --agents AC-IQN,DQN seed=0..2
  python scripts/reproduce.py --state -o runs/legacy
  python scripts/reproduce.py -o runs/legacy --table benchmarks/results --released DQN=traced_DQN_model.pt"""

CONFIGS = {
    "AC-IQN": "ac_iqn.json",
    "IQN": "iqn.json",
    "SAC": "sac.json",
    "DDPG": "ddpg.json",
    "Rainbow": "rainbow.json",
    "DQN": "dqn.json",
}
"""Agents of the legacy code base, and their configs."""

SCHEDULE = "legacy schedule"
"""What the models trained by this command are called."""

KEPT = ("checkpoint_every=300000", "checkpoint_keep=1")
"""Keys that let a killed run go on."""
KEPT_FAST = ("record_histories=false",)


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("reproduce", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("-o", "--output", type=Path, default=Path("runs/legacy"), help="folder (default: %(default)s)")
    add("--agents", type=agent_list, default=list(CONFIGS), metavar="A,B", help="default: all six")
    add("-P", "--num-procs", type=positive, default=1, help="runs at a time (default: %(default)s)")
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--fast", action="store_true", help="throughput keys that suit the device; same schedule")
    add("--state", action="store_true", help="only say how the runs stand")
    add("--table", type=Path, metavar="FOLDER", help="evaluate what is finished, into this folder")
    add("--released", action="append", default=[], metavar="AGENT=MODEL", help="with --table: play it too")
    add(
        "--beside",
        action="append",
        default=[],
        metavar="LABEL=RUN",
        help="with --table: trials of another run",
    )
    add("--fresh", type=positive, default=300, help="with --table: of each stage (default: %(default)s)")
    add("--episode-seed", type=int, default=40_503, help="with --table (default: %(default)s)")
    add("overrides", nargs="*", metavar="key=value", help="keys that win over the configs: seed=0..2")
    return parser


def agent_list(text: str) -> list[str]:
    """Legacy agents with commas in between, for argparse."""
    names = text.split(",")
    for name in names:
        if name not in CONFIGS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(CONFIGS)}")
    return names


def trials(args: argparse.Namespace) -> dict[Path, Trial]:
    """Every run that is asked for by its folder: seed by seed, so that all agents have one first."""
    fast_on = args.device if args.fast else None
    given = {argument.partition("=")[0] for argument in args.overrides}
    for key, option in {"agent_type": "--agents", "save_dir": "-o"}.items():
        if key in given:
            raise InputError(f"{key} is not for key=value here: {option} says it")
    kept = [*KEPT, *(KEPT_FAST if args.fast else ())]
    keys = [key for key in kept if key.partition("=")[0] not in given]
    keys += [f"save_dir={json.dumps(str(args.output))}", *args.overrides]
    found = {}
    for agent in args.agents:
        path = Path(config.__file__).parent / CONFIGS[agent]
        with refused(ConfigError):
            found |= {
                args.output / agent / trial.name: trial for trial in read_config(path, keys, fast_on).trials
            }
    return dict(sorted(found.items(), key=lambda item: item[1].run.seed))


def as_begun(folder: Path, trial: Trial) -> Trial:
    """The trial that a folder has begun, with a line where it is another one; else the given one."""
    if not (folder / TRIAL_FILE).is_file():
        return trial
    with refused(ConfigError):
        begun = read_trial(folder)
    for key in differing_keys([begun.values, trial.values]):
        print(f"{folder} goes on as it began: {key} is {begun[key]}, not {trial[key]}", file=sys.stderr)
    return begun


def tabulate(args: argparse.Namespace, wanted: dict[Path, Trial]) -> None:
    """Evaluate what is finished, and make table and curves."""
    from scripts.tabulating.reproduction import DATA, Judge, Model, Run, collect, render

    check_folder(args)
    trial = next(iter(wanted.values()))
    judge = Judge(trial["eval_schedule"], trial["discount"], args.fresh, args.episode_seed)
    with refused(ValueError):
        done = [info for info in list_runs(begun_below(args.output)) if measurable(info)]
    runs = [Run(SCHEDULE, info.folder) for info in done]
    models = [Model(info.agent, SCHEDULE, info.config["seed"], info.folder) for info in done]
    for agent, path in pairs(args.released, "--released"):
        if agent not in CONFIGS:
            raise InputError(f"--released {agent}={path}: {agent!r} is not one of {', '.join(CONFIGS)}")
        models.append(Model(agent, "released", None, path))
    for label, run_folder in pairs(args.beside, "--beside"):
        with refused(FileNotFoundError, ValueError):
            others = [info for info in list_runs([run_folder]) if measurable(info)]
        runs += [Run(label, info.folder) for info in others]
        models += [Model(info.agent, label, info.config["seed"], best_or_final(info)) for info in others]
    if not models and not (args.table / DATA).exists():
        raise InputError(f"-o {args.output}: holds no finished run, and {args.table} no {DATA}")
    collect(models, runs, judge, args.table, args.device)
    for path in render(args.table, list(CONFIGS)):
        print(path)


def measurable(info: RunInfo) -> bool:
    """Whether a run is finished and has a model: a short one ends before its first evaluation."""
    return info.state == "finished" and bool(info.evaluations)


def best_or_final(info: RunInfo) -> Path:
    """The best model of a run that picked it on other episodes than the legacy ones, else the final one."""
    from torchrl_gpu.seeding import EVAL_SEED

    best = info.folder / "best"
    return best if best.is_dir() and info.config.get("eval_seed", EVAL_SEED) != EVAL_SEED else info.folder


def check_folder(args: argparse.Namespace) -> None:
    """Refuse what --table cannot use."""
    from torchrl_gpu.seeding import EVAL_SEED  # it waits for torch

    if not args.table.is_dir():
        raise InputError(f"--table {args.table}: is not an existing folder")
    if not 0 <= args.episode_seed < 2**32 - 1 or args.episode_seed == EVAL_SEED:
        raise InputError(
            f"--episode-seed is {args.episode_seed}, allowed is 0 to {2**32 - 2}, but {EVAL_SEED}"
        )
    with refused(ConfigError):
        check_device(args.device)


def begun_below(folder: Path) -> list[Path]:
    """Folders of all trials of this command."""
    return [path.parent for path in sorted(folder.glob(f"*/*/{TRIAL_FILE}"))]


def pairs(arguments: Sequence[str], option: str) -> list[tuple[str, Path]]:
    """NAME=PATH arguments."""
    found = [argument.partition("=") for argument in arguments]
    for name, _, path in found:
        if not name or not Path(path).exists() or not path:
            raise InputError(f"{option} {name}={path}: it must be NAME=PATH of what is there")
    return [(name, Path(path)) for name, _, path in found]


def work(argv: Sequence[str] | None) -> int:
    """Say how the runs stand, and go on with them."""
    args = build_parser().parse_intermixed_args(argv)
    wanted = trials(args)
    if args.table is not None:
        tabulate(args, wanted)
        return 0
    with refused(ValueError):
        infos = list_trials(wanted)
    print(table_of(infos, lambda folder: folder.relative_to(args.output)), flush=True)
    if args.state:
        return 0
    waiting = [info.folder for info in infos if info.state != "running"]
    free = {folder: as_begun(folder, wanted[folder]) for folder in waiting}
    for folder in free:
        folder.parent.mkdir(parents=True, exist_ok=True)
    args.verbosity = "normal"
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
    return go_on(free, args, run_trial, partial(check, device=args.device), lost_results, stamp)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("reproduce", work, argv)


if __name__ == "__main__":
    sys.exit(main())
