"""The zoo of trained policies: what is in it, and how a trained run comes into it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import models
from scripts.command_line import InputError, new_parser, refused, run
from scripts.episodes_played import LEGACY_PER_STAGE
from torchrl_gpu.program import table
from torchrl_gpu.settings.parse import ConfigError

if TYPE_CHECKING:
    from agents.agent import Agent

NAME = "zoo"
DESCRIPTION = """\
List the policies of the zoo with what they scored: success rate and return on the 60 legacy episodes, in the
reference world, and on fresh ones, in the tensor world. With --take TRIAL the model of a trial joins the zoo:
weights, config, learning curve, and its score, which is measured now. Weights of more than 2 MB are kept, and
measured, in half precision.

Exit status: 0 done, 1 failed, 2 bad usage or bad input."""

EXAMPLES = """\
  python scripts/zoo.py
  python scripts/zoo.py --take runs/training_STAMP/seed_0 --name mine"""

SCORE, CONFIG, CURVE = "score.json", "config.json", "curve.csv"
FRESH_PER_STAGE = 300
FRESH_SEED = 20262
"""Of episodes that no config trains on or picks a model by."""
MOST_BYTES = 2_000_000
"""Of a policy's weights."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of this command line."""
    parser = new_parser(NAME, DESCRIPTION, EXAMPLES)
    parser.add_argument("--take", type=Path, metavar="TRIAL", help="trial folder of a finished run")
    parser.add_argument("--name", help="with --take: what the policy will be called")
    return parser


def take(trial_folder: Path, name: str) -> Path:
    """Measure the best model of a trial and copy it into the zoo; returns its folder there."""
    import torch

    from agents.models.files import ModelFileError
    from agents.models.weights import save_model
    from marinenav_env.files import write_text
    from torchrl_gpu.api import load_policy
    from torchrl_gpu.evaluation.record import EvaluationFileError, EvaluationRecord
    from torchrl_gpu.runs.resuming import read_trial

    if not name.isidentifier():
        raise InputError(f"--name {name!r} is not allowed; it must be of letters, digits and _")
    target = models.ROOT / name
    if target.exists():
        raise InputError(f"--name {name}: {target} exists already; remove it or take another name")
    with refused(ConfigError, ModelFileError, EvaluationFileError):
        trial = read_trial(trial_folder)
        best = trial_folder / "best"
        learner = load_policy(best if best.is_dir() else trial_folder).learner
        record = EvaluationRecord.load(trial_folder, histories=False)
    with TemporaryDirectory(dir=models.ROOT, prefix=".") as parent:
        folder = Path(parent, name)
        folder.mkdir()
        save_model(learner, folder)
        if sum(path.stat().st_size for path in folder.iterdir()) > MOST_BYTES:
            learner.to_dtype(torch.float16)
            save_model(learner, folder)
        policy = load_policy(folder)  # as it was saved
        score = {"agent": policy.agent_type} | measure(policy, trial.values)
        rows = [(t, record.metrics(k)) for k, t in enumerate(record.timesteps)]
        curve = [f"{t},{m.success_rate:.4f},{m.mean_return:.3f}" for t, m in rows]
        write_text(folder / CURVE, "\n".join(["timestep,success,return", *curve]) + "\n")
        write_text(folder / SCORE, json.dumps(score, indent=1) + "\n")
        write_text(folder / CONFIG, json.dumps(trial.values | {"save_dir": "runs"}, indent=1) + "\n")
        return folder.rename(target)


def measure(policy: "Agent", config: dict[str, Any]) -> dict[str, Any]:
    """What a policy scores on the legacy and on fresh episodes of a config's evaluation stages."""
    from torchrl_gpu import api
    from torchrl_gpu.runs.surroundings import versions
    from torchrl_gpu.seeding import EVAL_SEED

    def played(per_stage: int, seed: int, batched: bool) -> dict[str, Any]:
        evaluation = api.evaluate(policy, config, episode_seed=seed, per_stage=per_stage, batched=batched)
        return evaluation.metrics._asdict()

    return {
        "legacy": played(LEGACY_PER_STAGE, EVAL_SEED, batched=False),
        "fresh": played(FRESH_PER_STAGE, FRESH_SEED, batched=True),
        "fresh_seed": FRESH_SEED,
        "versions": versions(),
    }


def listing() -> str:
    """The table of the zoo."""
    header = ["name", "agent"]
    header += [f"{episodes} {column}" for episodes in ("legacy", "fresh") for column in ("success", "return")]
    rows = []
    for name in models.names():
        score = json.loads((models.folder(name) / SCORE).read_text(encoding="utf-8"))
        played = [score[episodes] for episodes in ("legacy", "fresh")]
        numbers = [f"{each[key]:.3f}" for each in played for key in ("success_rate", "mean_return")]
        rows.append([name, score["agent"], *numbers])
    return table(header, rows, left=2)


def work(argv: Sequence[str] | None) -> None:
    """List, or take in."""
    args = build_parser().parse_args(argv)
    if (args.take is None) != (args.name is None):
        raise InputError("--take and --name belong together")
    if args.take is not None:
        print(take(args.take, args.name))
    print(listing())
    print("\nmarinenav view --zoo NAME shows an episode of one")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first line."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
