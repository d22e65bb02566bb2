"""Train a config for several seeds, and tell how well their final models do on fresh episodes."""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command_line import InputError, command, markdown_table, new_parser, refused, run
from scripts.episodes_played import LEGACY_PER_STAGE
from scripts.tabulating.seeds import standard_error
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.program import positive
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.runs.resuming import trials_in
from torchrl_gpu.settings.parse import ConfigError, Experiment, Trial, read_config

NAME = "study"
DESCRIPTION = """\
Train a config for several seeds, then let the final model of each play episodes that its training has not
seen: not those by which a run follows itself, nor, with --best, picks its model. The table gives success
rate and return of each seed, the minutes that its training took, mean with standard error, and the worst; it
is printed, and written as study.md and study.json beside the runs. The same command again goes on with what
was interrupted, and leaves finished seeds as they are.

Exit status: 0 done, 1 failed or interrupted, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/study.py -C config/quickstart.json seed=0..9 -o quickstart
  python scripts/study.py -C config/ac_iqn.json --episodes 50 -P 4 seed=0..3 -o ac_iqn
  python scripts/study.py -C config/fast_sac.json --best --legacy --episodes 300 seed=0,1,2 -o sac"""

COLUMNS = {
    "success_rate": ("success", ".3f", min),
    "mean_return": ("return", ".2f", min),
    "legacy_success_rate": ("legacy episodes: success", ".3f", min),
    "legacy_mean_return": ("return", ".2f", min),
    "minutes": ("minutes", ".1f", max),
}
"""Key of a column, its title, how its numbers are written, and which is the worst; legacy ones if asked."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("-C", "--config", type=Path, required=True, help="JSON file of the experiment")
    add("-P", "--num-procs", type=positive, default=1, help="seeds trained at a time (default: %(default)s)")
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--best", action="store_true", help="judge the best model of each run, not the final one")
    add("--legacy", action="store_true", help="play the legacy episodes, too, in the reference world")
    add("--episodes", type=positive, default=200, help="of each stage (default: %(default)s)")
    add("--episode-seed", type=int, default=20261, help="of the episodes (default: %(default)s)")
    add("-o", "--output", type=Path, required=True, help="folder of the study; made if it is not there")
    add("overrides", nargs="*", metavar="key=value", help="keys that win over the config: seed=0..9")
    return parser


def read(args: argparse.Namespace) -> Experiment:
    """The config with what wins over it, one trial a seed; InputError for what cannot be studied."""
    folder = f"save_dir={json.dumps(str(args.output))}"
    with refused(ConfigError):
        experiment = read_config(args.config, [*args.overrides, folder])
        check_device(args.device)
    if others := [key for key in experiment.trials[0].swept if key != "seed"]:
        raise InputError(
            f"key {others[0]!r} has several values; the trials of a study differ in the seed only"
        )
    used = {trial[key] for trial in experiment.trials for key in ("seed", "eval_seed")}
    if args.episode_seed in used or not 0 <= args.episode_seed < 2**32:
        raise InputError(
            f"--episode-seed {args.episode_seed} is not allowed; it must be from 0 to {2**32 - 1}, "
            f"and none that the training uses: {', '.join(map(str, sorted(used)))}"
        )
    if args.best:
        check_choice(experiment, args.legacy)
    return experiment


def check_choice(experiment: Experiment, legacy: bool) -> None:
    """Refuse --best where a run keeps no best model, or picks it by what it would be judged on."""
    from torchrl_gpu.seeding import EVAL_SEED  # it waits for torch

    for trial in experiment.trials:
        if trial.reproduction:
            raise InputError("--best: in reproduction mode a run keeps its final model only")
        if legacy and trial["eval_seed"] == EVAL_SEED:
            raise InputError(
                f"--best with --legacy: eval_seed is {EVAL_SEED}, so the legacy episodes themselves pick the "
                "best model; another eval_seed is needed"
            )


def begun(folder: Path, experiment: Experiment) -> Path | None:
    """The run in the folder of a study, or None; InputError if it is of another config."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder")
    runs = sorted(folder.glob("training_*/config.json"))
    for path in runs:
        with refused(ConfigError):
            written = read_config(path).written
        ours = experiment.written
        if differing := [key for key in {**written, **ours} if written.get(key) != ours.get(key)]:
            raise InputError(
                f"{folder}: holds a run that differs in {', '.join(differing)}; give another folder"
            )
    return runs[-1].parent if runs else None


def train(args: argparse.Namespace, experiment: Experiment) -> Path:
    """Train what is not yet trained; returns the folder of the run. OSError: some seeds are not finished."""
    run_folder = begun(args.output, experiment)
    if run_folder:
        what = ["--resume", str(run_folder)]
    else:
        folder = f"save_dir={json.dumps(str(args.output))}"
        what = ["-C", str(args.config), *args.overrides, folder]
    if train_torchrl_gpu.main([*what, "-D", args.device, "-P", str(args.num_procs)]):
        raise OSError("not all seeds are trained; the same command again goes on")
    return run_folder or begun(args.output, experiment)


def evaluated(folder: Path, trial: Trial, args: argparse.Namespace) -> dict[str, Any]:
    """What a model of a trial comes to."""
    from torchrl_gpu import api
    from torchrl_gpu.watch.loggers import CSV_FOLDER, WALL_MINUTES

    model = folder / "best" if args.best else folder
    fresh = {"episode_seed": args.episode_seed, "per_stage": args.episodes, "batched": True}
    row = api.evaluate(model, trial.values, device=args.device, **fresh).metrics._asdict()
    if args.legacy:
        legacy = api.evaluate(model, trial.values, device=args.device, per_stage=LEGACY_PER_STAGE).metrics
        row |= {f"legacy_{name}": value for name, value in legacy._asdict().items()}
    last = (folder / CSV_FOLDER / "scalars" / WALL_MINUTES).read_text().split()[-1]
    return {"seed": trial["seed"], "folder": str(folder), "minutes": float(last.partition(",")[2]), **row}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean, its standard error (0 for a single seed), and the worst of each column that there is."""
    found = {}
    for key, (_, _, worst) in COLUMNS.items():
        if key in rows[0]:
            values = [row[key] for row in rows]
            error = standard_error(values) if len(values) > 1 else 0.0
            found[key] = {"mean": statistics.mean(values), "standard_error": error, "worst": worst(values)}
    return found


def markdown(rows: Sequence[dict[str, Any]], found: dict[str, dict[str, float]]) -> str:
    """The table: a line a seed, then the summary."""
    forms = {key: COLUMNS[key][1] for key in found}
    lines = [[str(row["seed"]), *(f"{row[key]:{form}}" for key, form in forms.items())] for row in rows]
    for title, names in {"mean ± standard error": ("mean", "standard_error"), "worst": ("worst",)}.items():
        cells = (" ± ".join(f"{found[key][name]:{form}}" for name in names) for key, form in forms.items())
        lines.append([title, *cells])
    return markdown_table(["seed", *(COLUMNS[key][0] for key in found)], lines)


def work(argv: Sequence[str] | None) -> None:
    """Train, evaluate, print, write."""
    args = build_parser().parse_intermixed_args(argv)
    experiment = read(args)
    folder = train(args, experiment)
    from marinenav_env.files import write_text
    from torchrl_gpu.runs.surroundings import machine, versions

    rows = [evaluated(*each, args) for each in trials_in(folder).items()]
    found = summary(rows)
    report = {
        "command": command(NAME, argv),
        "episodes": args.episodes,
        "episode_seed": args.episode_seed,
        "seeds": rows,
        "summary": found,
        "config": experiment.written,
        "machine": machine(args.device),
        "versions": versions(),
    }
    table = markdown(rows, found)
    print(table)
    for name, text in {"study.md": table, "study.json": json.dumps(report, indent=1)}.items():
        write_text(args.output / name, text)
        print(args.output / name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
