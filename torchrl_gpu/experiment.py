"""From one trial of a config to a trainer: seeds, worlds, agent, replay, evaluation, in the legacy order."""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from tensordict import TensorDictBase

from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.files import replacing
from torchrl_gpu.collect.plain_steps import PlainSteps
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.step import Lap
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.one_by_one import create_eval_configs, evaluate
from torchrl_gpu.learn.average import AveragedWeights
from torchrl_gpu.learn.scale import ObservationScale
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.learn.update import FastUpdate
from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.ring import DeviceRing, HostRing
from torchrl_gpu.replay.rows import Draw, unpack
from torchrl_gpu.replay.samplers import (
    LegacyPrioritizedSampler,
    LegacyUniformSampler,
    PrioritizedSampler,
    UniformSampler,
)
from torchrl_gpu.replay.windows import RecordWindows, RobotWindows
from torchrl_gpu.seeding import AGENT_SEED_OFFSET, seed_everything
from torchrl_gpu.settings.parse import Trial
from torchrl_gpu.torchrl_trainer import StepListener, TorchRLTrainer
from torchrl_gpu.watch.loggers import ScalarLog
from torchrl_gpu.watch.progress import EpisodeReports, Progress, Verbosity, stage_names
from torchrl_gpu.watch.statistics import EpisodeStatistics
from torchrl_gpu.watch.timings import Timings

STEPS_AT_ONCE = 64
"""Steps of one environment written to replay together at most; an update writes them all before it draws."""


def build_agent(trial: Trial, device: str) -> Agent:
    """The trial's learner, with its networks loaded if the trial starts from a model (training spec 2.3)."""
    agent = Agent(
        settings=trial.learner,
        device=device,
        seed=trial["seed"] + AGENT_SEED_OFFSET,
        agent_type=trial["agent_type"],
        BUFFER_SIZE=trial["buffer_size"],
        BATCH_SIZE=trial["batch_size"],
    )
    if trial["load_model"] is not None:
        agent.load_model(trial["load_model"], device)
    return agent


def build_schedule(trial: Trial) -> Schedule:
    """When the trial explores, learns, copies its target and evaluates."""
    return Schedule(
        total_timesteps=trial["total_timesteps"],
        eval_freq=trial["eval_freq"],
        UPDATE_EVERY=trial["update_every"],
        learning_starts=trial["learning_starts"],
        target_update_interval=trial["target_update_interval"],
        exploration_fraction=trial["exploration_fraction"],
        initial_eps=trial["initial_eps"],
        final_eps=trial["final_eps"],
        learning_rate=trial["learning_rate"],
        final_learning_rate=trial["final_learning_rate"],
    )


def build_env(trial: Trial, device: str) -> MarineNavTorchRLEnv:
    """The training environment; with ``stage_mix`` its environments are spread over all stages."""
    stages = len(trial["training_schedule"]["timesteps"])
    env = MarineNavTorchRLEnv(
        trial["num_envs"],
        backend=trial["backend"],
        seed=trial["seed"],
        schedule=trial["training_schedule"],
        continuous=LEARNERS[trial["agent_type"]].continuous,
        dtype=torch.float64 if trial.reproduction else torch.float32,
        device=device,
        compile=trial["compile"] and trial["backend"] == "torch",
        collision_penalty=trial["collision_penalty"],
    )
    if trial["stage_mix"]:
        env.world.pin(torch.arange(trial["num_envs"]) % stages)
    return env


def build_policy(trial: Trial, agent: Agent, scale: ObservationScale | None) -> PolicyWrapper:
    """Acts in the training environment."""
    return PolicyWrapper(
        agent,
        sequential=trial.reproduction,
        action_noise=trial["action_noise"],
        exploring_envs=math.ceil(trial["exploring_envs"] * trial["num_envs"]),
        scale=scale,
    )


def build_steps(
    trial: Trial, env: MarineNavTorchRLEnv, policy: PolicyWrapper, scale: ObservationScale | None, lap: Lap
) -> TensorSteps | PlainSteps:
    """The trial's steps; in reproduction mode those of the legacy loop."""
    if trial.reproduction:
        return PlainSteps(env, policy, lap)
    return TensorSteps(env, policy, lap, bootstrap_on_timeout=trial["bootstrap_on_timeout"], scale=scale)


def build_replay(trial: Trial, device: str) -> Replay:
    """The trial's replay memory; in reproduction mode it draws what the legacy memory draws."""
    where = device if trial["replay_device"] == "auto" else trial["replay_device"]
    capacity, batch_size = trial["buffer_size"], trial["batch_size"]
    exponents = trial["priority_exponent"], trial["priority_weight"]
    n = trial.learner.return_steps
    options = {"device": where, "batch_device": device}
    if trial.reproduction:
        records = RecordWindows(n, trial["discount"]) if trial.prioritized else None
        sampler = LegacyPrioritizedSampler(capacity, n, *exponents) if records else LegacyUniformSampler()
        options |= {"records": records, "steps_at_once": STEPS_AT_ONCE}
        return Replay(HostRing(capacity), sampler, batch_size, **options)
    on_host = torch.device(where).type == "cpu"
    ring = HostRing(capacity) if on_host else DeviceRing(capacity, where, batch_size)
    sampler = PrioritizedSampler(capacity, *exponents, where) if trial.prioritized else UniformSampler(ring)
    options["windows"] = RobotWindows(n, trial["discount"]) if n > 1 else None
    return Replay(ring, sampler, batch_size, **options)


def build_update(trial: Trial, agent: Agent) -> Callable[[Draw], TensorDictBase]:
    """The trial's gradient update: the legacy one, or the same numbers with less waste."""
    learner = agent.learner
    if trial["compile"]:
        return FastUpdate(learner, autocast=trial["autocast"])
    if not trial.reproduction:
        learner.stay_on_device()
        for optimizer in learner.optimizers.values():
            optimizer.param_groups[0].update(fused=True, foreach=False)
    return lambda batch: learner.update(unpack(batch, learner.continuous))


def build_evaluation(
    trial: Trial, agent: Agent, world: MarineNavEnv3, episodes: list[dict], device: str, verbose: bool
) -> Callable[[], list[EpisodeResult]]:
    """Plays the evaluation episodes: one after another in the legacy world, or side by side on tensors."""
    if trial.reproduction:
        return partial(evaluate, world, agent, episodes, verbose=verbose)
    return BatchedEvaluation(
        agent,
        episodes,
        device,
        histories=trial["record_histories"],
        compile=trial["compile"],
        seed=trial["eval_seed"],
        verbose=verbose,
    )


def build_progress(
    trial: Trial,
    env: MarineNavTorchRLEnv,
    device: str,
    schedule: Schedule,
    folder: Path,
    verbosity: Verbosity,
) -> Progress:
    """Shows the run and writes its scalars into its folder."""
    return Progress(
        schedule,
        trial["num_envs"],
        stage_names(trial["training_schedule"]["timesteps"], mixed=trial["stage_mix"]),
        EpisodeStatistics(trial["num_envs"], env.max_robots, trial["discount"], env.device),
        ScalarLog(folder, trial["logger"]),
        verbosity,
        Timings(device),
    )


def build_trainer(
    trial: Trial, device: str, folder: Path, verbosity: Verbosity = Verbosity.NORMAL
) -> TorchRLTrainer:
    """Everything a trial needs, ready to learn; writes ``eval_configs.json`` into its folder.

    Args:
        trial: A validated trial.
        device: Torch device of networks, replay and, for the torch backend, the world.
        folder: The trial's existing folder.
        verbosity: How much the run says.
    """
    seed_everything(trial["seed"])
    env = build_env(trial, device)
    eval_world = MarineNavEnv3(trial["eval_seed"], is_eval_env=True)
    agent = build_agent(trial, device)
    scale = ObservationScale(device) if trial["observation_scale"] else None
    if scale and trial["load_model"] is not None:
        scale.unfold_(agent.learner)
    episodes = create_eval_configs(eval_world, trial["eval_schedule"])
    with replacing(folder / "eval_configs.json", "w") as file:
        json.dump(episodes, file)
    schedule = build_schedule(trial)
    progress = build_progress(trial, env, device, schedule, folder, verbosity)
    verbose = verbosity == Verbosity.VERBOSE
    listeners: tuple[StepListener, ...] = ()
    if verbose and trial["num_envs"] == 1:
        listeners = (EpisodeReports(schedule, trial["discount"], progress.say),)
    policy = build_policy(trial, agent, scale)
    return TorchRLTrainer(
        env=env,
        policy=policy,
        steps=build_steps(trial, env, policy, scale, progress.timings.lap),
        replay=build_replay(trial, device),
        agent=agent,
        schedule=schedule,
        evaluate=build_evaluation(trial, agent, eval_world, episodes, device, verbose),
        progress=progress,
        keep_best=not trial.reproduction,
        update=build_update(trial, agent),
        average=AveragedWeights(agent.learner, trial["average_tau"]) if trial["average_tau"] < 1 else None,
        raw_networks=partial(scale.folded, agent.learner) if scale else nullcontext,
        listeners=listeners,
    )
