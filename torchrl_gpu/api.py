"""Training, evaluating and acting from Python: what the commands do, for notebooks, tuners and pools.

Everything here is also a name of the package: ``torchrl_gpu.train(...)``.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from agents.agent import Agent
from agents.classical import ClassicalPolicy
from agents.policies import load_policy as read_policy
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.metrics import EpisodeResult, Metrics
from torchrl_gpu.evaluation.one_by_one import evaluate as play_one_by_one
from torchrl_gpu.evaluation.task import Task
from torchrl_gpu.learn.ways import compiler_of_torch
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.running import OnEvaluation, nobody, run_trials
from torchrl_gpu.runs.cluster import import_ray
from torchrl_gpu.runs.folder import create_run_folders
from torchrl_gpu.runs.job import Job, one_thread
from torchrl_gpu.runs.memory import check_memory
from torchrl_gpu.runs.refusals import check_device, check_model
from torchrl_gpu.runs.sweep import trial_folder
from torchrl_gpu.seeding import EVAL_SEED, kept_generators, seed_everything
from torchrl_gpu.settings.parse import ConfigError, Experiment, Trial, make_trials, read_config, without_stamp
from torchrl_gpu.torchrl_trainer import TorchRLTrainer
from torchrl_gpu.watch.progress import Verbosity

Config = Mapping[str, Any] | str | Path
"""A config, or the JSON file that holds it."""


@dataclass(frozen=True)
class Result:
    """What a training came to."""

    timesteps: int
    success: float | None  # success rate of the last evaluation; None if there was none
    mean_return: float | None  # of the last evaluation
    folder: Path  # of the trial: model, evaluations, checkpoints, scalars


class Evaluation(NamedTuple):
    """An evaluation of a policy: its metrics over all episodes, and the result of each."""

    metrics: Metrics
    results: list[EpisodeResult]


def train(
    config: Config,
    *,
    device: str = "cpu",
    on_evaluation: OnEvaluation = nobody,
    verbosity: str = "quiet",
) -> Result:
    """Train one agent, in a new folder below the config's ``save_dir``.

    It may be called in a thread or in a process of a pool. The global generators of Python, NumPy and torch
    are seeded and drawn from: two trainings in threads of one process disturb each other's draws.

    Args:
        config: Of one trial, without a sweep.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        on_evaluation: Called after each evaluation.
        verbosity: ``"quiet"``, ``"normal"`` or ``"verbose"``.

    Raises:
        ConfigError: The config cannot be used, or needs what this machine lacks.
        ValueError: ``verbosity`` is another.
        KeyboardInterrupt: A signal stopped it, in the main thread; the message says how to go on.
    """
    Verbosity.named(verbosity)
    experiment = _read(config)
    if len(experiment.trials) > 1:
        raise ConfigError(f"the config describes {len(experiment.trials)} trials; train them one by one")
    trial = experiment.trials[0]
    check_device(device)
    check_trial(trial, device)
    check_model(trial)
    stamp = create_run_folders(experiment, keep_config=True)
    folder = trial_folder(trial, stamp)
    Job(run_trial, trial, folder, stamp, device).prepare()
    with one_thread():
        trainer = run_trial(trial, folder, device, verbosity, on_evaluation)
    last = trainer.record.metrics(-1) if len(trainer.record) else None
    return Result(trainer.timestep, last and last.success_rate, last and last.mean_return, folder)


def evaluate(
    policy: Agent | ClassicalPolicy | str | Path,
    config: Config,
    *,
    device: str = "cpu",
    episode_seed: int = EVAL_SEED,
    per_stage: int | None = None,
    seed: int = 0,
    batched: bool = False,
) -> Evaluation:
    """Play the evaluation episodes of a config with a policy, greedily.

    Args:
        policy: From `load_policy`, or what that loads.
        config: Gives ``eval_schedule`` and ``discount``.
        device: Of a policy that is loaded here, and of the worlds of a batched evaluation.
        episode_seed: Of the episodes; that of all trainings unless given.
        per_stage: Episodes of each stage instead of the config's.
        seed: Of the draws of policies that act at random (IQN, SAC).
        batched: Play all episodes side by side in the tensor world, many times faster, instead of one by one
            in the reference world, as reproduction mode does.

    Raises:
        ConfigError: The config cannot be used.
        ModelFileError: What is there is no model.
    """
    trial = _read(config).trials[0]
    with kept_generators(device):
        agent = load_policy(policy, device=device) if isinstance(policy, str | Path) else policy
        task = Task.drawn(trial["eval_schedule"], trial["discount"], episode_seed, per_stage)
        seed_everything(seed)
        with _discounting(agent, task.discount):
            if batched:
                results = BatchedEvaluation(agent, task.episodes, device, seed=seed, verbose=False)()
            else:
                results = play_one_by_one(task.world, agent, task.episodes, verbose=False)
    return Evaluation(Metrics.of_results(results), results)


def load_policy(
    path: str | Path, *, device: str = "cpu", agent_type: str | None = None, trust: bool = False
) -> Agent | ClassicalPolicy:
    """Load a policy; ``policy.act(observation)`` gives its greedy action.

    Args:
        path: A model folder, a released TorchScript file, or the name of a classical policy, ``"ORCA"`` or
            ``"APF"``.
        device: Where its networks live.
        agent_type: The learner, where file names do not tell: actors of several are built alike.
        trust: Whether a TorchScript file that cannot be read as data may be executed.

    Raises:
        ModelFileError: What is there is no model.
    """
    with kept_generators(device):  # building networks seeds torch
        return read_policy(path, device, agent_type=agent_type, trust=trust)


def run_trial(
    trial: Trial,
    folder: Path,
    device: str,
    verbosity: str = "normal",
    on_evaluation: OnEvaluation = nobody,
    ranks: Ranks = ALONE,
) -> TorchRLTrainer:
    """Train one trial in its folder, from where its checkpoints say it stands; returns the trainer.

    Args:
        trial: A validated trial.
        folder: Its existing folder.
        device: Torch device.
        verbosity: ``"quiet"``, or print how it ended: ``"normal"`` or ``"verbose"``.
        on_evaluation: Called after each evaluation.
        ranks: The processes that train it together, each in its own folder.
    """
    (trainer,) = run_trials({folder: trial}, device, verbosity, on_evaluation, ranks)
    return trainer


def check_trial(trial: Trial, device: str, at_once: int = 1) -> None:
    """Refuse a trial that needs what is not there: a logger, a device, or memory for all that run at once."""
    try:
        trial.logger.check_installed()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if trial.collect.collectors:
        import_ray(f"key 'collectors': {trial.collect.collectors}")
    if trial.replay.replay_device != "auto":
        check_device(trial.replay.replay_device, "key 'replay_device'")
    if trial.update.compile is True and torch.device(device).type == "cpu" and compiler_of_torch() is None:
        raise ConfigError(
            "key 'compile': true needs the C++ compiler g++, which is not on the PATH; \"auto\" needs none"
        )
    check_memory(trial, device, at_once)


@contextmanager
def _discounting(agent: Agent | ClassicalPolicy, discount: float) -> Iterator[None]:
    """Let evaluations, which ask the policy for its discount, find another; the policy is the caller's."""
    own, agent.GAMMA = agent.GAMMA, discount
    try:
        yield
    finally:
        agent.GAMMA = own


def _read(config: Config) -> Experiment:
    if isinstance(config, Mapping):
        written = json.loads(json.dumps(without_stamp(config)))  # as in a file, and not the caller's lists
        return Experiment(written, make_trials(written))
    return read_config(config)
