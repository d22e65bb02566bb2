"""The legacy command line: train agents one world, one robot, one draw at a time (training spec 2).

python scripts/train_rl_agents.py -C config/ac_iqn.json [-P processes] [-D device]
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torchrl_gpu.runs.sweep import build_parser, launch
from torchrl_gpu.settings.parse import ConfigError, Trial
from torchrl_gpu.settings.reference import show

if TYPE_CHECKING:
    from agents.legacy.agent import LegacyAgent
    from agents.legacy.trainer import Collaborators, Trainer

EXAMPLES = """\
  python scripts/train_rl_agents.py -C config/quickstart_legacy.json
  python scripts/train_rl_agents.py -C config/dqn.json -D cuda:0
  python scripts/train_rl_agents.py -C config/iqn.json -P 4

A list in the config is a sweep: a trial for each of its elements, -P of them at a time."""


def check(trial: Trial, at_once: int) -> None:
    """Refuse a trial that asks for more than the legacy pipeline does."""
    for section in trial.sections:
        for name in section.changed(section.flagged("legacy", False)):
            raise ConfigError(
                f"key {name!r}: {show(trial[name])} is not allowed in the legacy pipeline, "
                f"only {show(type(section).model_fields[name].default)}; "
                "use python -m torchrl_gpu.train_torchrl_gpu"
            )


def build_trainer(trial: Trial, device: str) -> "Trainer":
    """Seed, then build worlds, agent and trainer in the legacy order (training spec 2.3)."""
    # Imported here: torch takes seconds, and help, version and refused configs need none of this.
    from agents.legacy.trainer import Trainer
    from marinenav_env.envs import MarineNavEnv3
    from torchrl_gpu.seeding import EVAL_SEED, seed_everything

    seed_everything(trial["seed"])
    train_env = MarineNavEnv3(seed=trial["seed"], schedule=trial["training_schedule"])
    eval_env = MarineNavEnv3(seed=EVAL_SEED, is_eval_env=True)
    agent = build_agent(trial, device)
    return Trainer(
        train_env,
        eval_env,
        trial["eval_schedule"],
        agent,
        UPDATE_EVERY=trial["update_every"],
        learning_starts=trial["learning_starts"],
        target_update_interval=trial["target_update_interval"],
        exploration_fraction=trial["exploration_fraction"],
        initial_eps=trial["initial_eps"],
        final_eps=trial["final_eps"],
        shared=shared(),
    )


def build_agent(trial: Trial, device: str) -> "LegacyAgent":
    """The trial's learner with its memory, its networks loaded if the trial starts from a model."""
    from agents.legacy.agent import LegacyAgent
    from torchrl_gpu.seeding import AGENT_SEED_OFFSET

    agent = LegacyAgent(
        settings=trial.learner,
        device=device,
        seed=trial.run.seed + AGENT_SEED_OFFSET,
        agent_type=trial.run.agent_type,
        BUFFER_SIZE=trial.replay.buffer_size,
        BATCH_SIZE=trial.replay.batch_size,
    )
    if trial.run.load_model is not None:
        agent.load_model(trial.run.load_model, device)
    return agent


def shared() -> "Collaborators":
    """What the legacy trainer has in common with the other pipeline."""
    from agents.legacy.trainer import Collaborators
    from torchrl_gpu.evaluation.one_by_one import create_eval_configs, evaluate
    from torchrl_gpu.evaluation.record import EvaluationRecord
    from torchrl_gpu.learn.schedule import Schedule
    from torchrl_gpu.watch.episode_report import episode_report

    return Collaborators(Schedule, create_eval_configs, evaluate, EvaluationRecord, episode_report)


def run_trial(trial: Trial, folder: Path, device: str, verbosity: str = "normal") -> None:
    """Train one trial in its folder and print how it ended; only ``"quiet"`` hides the legacy reports."""
    with redirect_stdout(None) if verbosity == "quiet" else nullcontext():
        trainer = build_trainer(trial, device)
        trainer.save_eval_config(folder)
        trainer.learn(trial["total_timesteps"], trial["eval_freq"], folder)
        print(trainer.record.summary(folder))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; an error exits with status 2."""
    description = "Train agents with the legacy pipeline. Exit status: 0 done, 1 failed, 2 usage."
    return build_parser("train_rl_agents", description, EXAMPLES).parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's first lines."""
    args = parse(argv)
    return launch(args, partial(run_trial, verbosity=args.verbosity), check)


if __name__ == "__main__":
    sys.exit(main())
