"""What a policy's critic expects of its actions, against what comes of them."""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marinenav_env.files import replacing
from scripts.command_line import InputError, model_refused, new_parser, output_path, refused, run
from scripts.compare_policies import from_zoo
from torchrl_gpu.program import positive, table
from torchrl_gpu.runs.folder import CONFIG_FILE, TRIAL_FILE
from torchrl_gpu.runs.refusals import check_device
from torchrl_gpu.runs.resuming import read_trial
from torchrl_gpu.settings.parse import ConfigError, read_config

if TYPE_CHECKING:
    from torchrl_gpu.evaluation.beliefs import Belief
    from torchrl_gpu.settings.trial import Trial

DESCRIPTION = """\
Let a policy play episodes in the tensor world and ask its critic, at each step, what it expects from there
on. Told are the means of what it expected and of what came, discounted, and the root of their mean square
difference, so many steps before the vessels arrived, collided, or ran out of time. A critic that expects an
arrival where collisions come does not see them; one that expects it until time is over has never seen its
policy circle a goal. Rewards are those of the config; vessels whose episode the collision of others ended are
left out.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/beliefs.py ac_iqn
  python scripts/beliefs.py runs/training_STAMP/seed_0 --per-stage 300 --episode-seed 1 -o beliefs.csv"""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser("beliefs", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("model", help="trial folder, its folder best, or a policy of the zoo by its name")
    add("-C", "--config", type=Path, help="gives episodes and rewards (default: the model's)")
    add(
        "--per-stage", type=positive, default=100, metavar="N", help="episodes of each (default: %(default)s)"
    )
    add("--episode-seed", type=int, default=40_503, metavar="SEED", help="default: %(default)s")
    add("-D", "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the random draws (default: %(default)s)")
    add("-o", "--output", type=Path, help="CSV file for the table")
    return parser


def trial_of(folder: Path, config: Path | None) -> "Trial":
    """The first trial of a config, or that which trained a model; InputError if nothing says which."""
    if config is not None or (folder / CONFIG_FILE).is_file():
        return read_config(config or folder / CONFIG_FILE).trials[0]
    for place in (folder, folder.parent):
        if (place / TRIAL_FILE).is_file():
            return read_trial(place)
    raise InputError(f"{folder}: no config beside the model; give one with -C")


def with_rewards(episodes: Sequence[dict], rewards: Mapping[str, float]) -> list[dict]:
    """Episodes with other weights of the reward."""
    return [{**episode, "env": {**episode["env"], **rewards}} for episode in episodes]


def found(args: argparse.Namespace) -> "list[Belief]":
    """Play, and compare."""
    # Imported here: torch takes seconds, and help, version and wrong usage need none of it.
    from agents.models.files import ModelFileError
    from agents.models.folder import load_agent
    from torchrl_gpu.evaluation.beliefs import beliefs
    from torchrl_gpu.evaluation.task import Task
    from torchrl_gpu.seeding import seed_everything

    folder = Path(from_zoo(args.model))
    if folder.is_file():
        raise InputError(f"{folder}: a file holds the acting network alone; give a model folder")
    with refused(ConfigError), model_refused(folder, ModelFileError):
        check_device(args.device)
        agent = load_agent(folder, args.device)
        trial = trial_of(folder, args.config)
    agent.GAMMA = trial["discount"]
    task = Task.drawn(trial["eval_schedule"], agent.GAMMA, args.episode_seed, args.per_stage)
    seed_everything(args.seed)
    return beliefs(agent, with_rewards(task.episodes, trial.world.rewards), args.seed, args.device)


def row_of(belief: "Belief") -> list[str]:
    """Cells of the printed table."""
    return [belief.ending, str(belief.vessels), str(belief.before), *(f"{x:.2f}" for x in belief[3:])]


def work(argv: Sequence[str] | None) -> None:
    """Play, print, write."""
    args = build_parser().parse_args(argv)
    if args.output is not None:
        output_path(args.output, (".csv",))
    rows = found(args)
    print(
        table(["vessels that", "number", "steps before", "expected", "came", "error"], [*map(row_of, rows)])
    )
    if args.output is not None:
        with replacing(args.output, "w") as file:
            csv.writer(file).writerows([rows[0]._fields, *rows])
        print(args.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run("beliefs", work, argv)


if __name__ == "__main__":
    sys.exit(main())
