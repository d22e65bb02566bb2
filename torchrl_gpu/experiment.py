"""From one trial of a config to a trainer: seeds, worlds, agent, replay, evaluation, in the legacy order."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

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
from torchrl_gpu.learn.update import Update
from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.ring import DeviceRing, HostRing
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.replay.samplers import (
    LegacyPrioritizedSampler,
    LegacyUniformSampler,
    PrioritizedSampler,
    UniformSampler,
)
from torchrl_gpu.replay.windows import RecordWindows, RobotWindows
from torchrl_gpu.seeding import AGENT_SEED_OFFSET, reseed_as_uniform_memory, seed_everything
from torchrl_gpu.settings.trial import Trial
from torchrl_gpu.torchrl_trainer import StepListener, TorchRLTrainer
from torchrl_gpu.watch.loggers import ScalarLog
from torchrl_gpu.watch.progress import EpisodeReports, Progress, Verbosity, stage_names
from torchrl_gpu.watch.statistics import EpisodeStatistics
from torchrl_gpu.watch.timings import Timings

STEPS_AT_ONCE = 64
"""Steps of one environment written to replay together at most; an update writes them all before it draws."""

Evaluate = Callable[[], list[EpisodeResult]]


class Parts(NamedTuple):
    """What a mode decides about, as `TorchRLTrainer` takes it."""

    env: MarineNavTorchRLEnv
    agent: Agent
    policy: PolicyWrapper
    steps: PlainSteps | TensorSteps
    replay: Replay
    update: Callable[[Draw], dict[str, torch.Tensor]]
    evaluate: Evaluate
    average: AveragedWeights | None = None
    raw_networks: Callable[[], AbstractContextManager] = nullcontext
    keep_best: bool = False


def reproduction_parts(trial: Trial, device: str, folder: Path, lap: Lap, verbose: bool) -> Parts:
    """The legacy pipeline's numbers: one world, one robot after the other, the legacy draws."""
    env = build_env(trial, device, dtype=torch.float64)
    world = MarineNavEnv3(trial.evaluation.eval_seed, is_eval_env=True)
    agent = build_agent(trial, device)
    if not agent.learner.prioritized:
        reseed_as_uniform_memory()
    episodes = write_episodes(trial, world, folder)
    policy = PolicyWrapper(agent, sequential=True)
    return Parts(
        env=env,
        agent=agent,
        policy=policy,
        steps=PlainSteps(env, policy, lap),
        replay=legacy_replay(trial, device),
        update=Update(agent.learner),
        evaluate=partial(evaluate, world, agent, episodes, verbose=verbose),
    )


def throughput_parts(trial: Trial, device: str, folder: Path, lap: Lap, verbose: bool) -> Parts:
    """Many environments at once: batched acting, replay on the device, episodes played side by side."""
    env = build_env(trial, device, dtype=torch.float32)
    world = MarineNavEnv3(trial.evaluation.eval_seed, is_eval_env=True)
    agent = build_agent(trial, device)
    average_tau = trial.evaluation.average_tau
    scale = ObservationScale(device) if trial.policy.observation_scale else None
    if scale and trial.run.load_model is not None:
        scale.unfold_(agent.learner)
    episodes = write_episodes(trial, world, folder)
    policy = PolicyWrapper(
        agent,
        action_noise=trial.policy.action_noise,
        exploring_envs=math.ceil(trial.policy.exploring_envs * trial.world.num_envs),
        scale=scale,
    )
    return Parts(
        env=env,
        agent=agent,
        policy=policy,
        steps=TensorSteps(
            env, policy, lap, bootstrap_on_timeout=trial.replay.bootstrap_on_timeout, scale=scale
        ),
        replay=device_replay(trial, device),
        update=device_update(agent, trial),
        evaluate=BatchedEvaluation(
            agent,
            episodes,
            device,
            histories=trial.evaluation.record_histories,
            compile=trial.run.compile,
            seed=trial.evaluation.eval_seed,
            verbose=verbose,
        ),
        average=AveragedWeights(agent.learner, average_tau) if average_tau < 1 else None,
        raw_networks=partial(scale.folded, agent.learner) if scale else nullcontext,
        keep_best=True,
    )


def build_env(trial: Trial, device: str, dtype: torch.dtype) -> MarineNavTorchRLEnv:
    """The training environment; with ``stage_mix`` its environments are spread over all stages."""
    world = trial.world
    env = MarineNavTorchRLEnv(
        world.num_envs,
        backend=world.backend,
        seed=trial.run.seed,
        schedule=world.training_schedule.model_dump(),
        continuous=LEARNERS[trial.run.agent_type].continuous,
        dtype=dtype,
        device=device,
        compile=trial.run.compile and world.backend == "torch",
        **world.rewards,
    )
    if world.stage_mix:
        env.world.pin(torch.arange(world.num_envs) % len(world.training_schedule))
    return env


def build_agent(trial: Trial, device: str) -> Agent:
    """The trial's learner, with its networks loaded if the trial starts from a model (training spec 2.3)."""
    agent = Agent(
        settings=trial.learner,
        device=device,
        seed=trial.run.seed + AGENT_SEED_OFFSET,
        agent_type=trial.run.agent_type,
    )
    if trial.run.load_model is not None:
        agent.load_model(trial.run.load_model, device)
    return agent


def write_episodes(trial: Trial, world: MarineNavEnv3, folder: Path) -> list[dict]:
    """The evaluation episodes, drawn from their world; they go into the trial's folder."""
    episodes = create_eval_configs(world, trial.evaluation.eval_schedule.model_dump())
    with replacing(folder / "eval_configs.json", "w") as file:
        json.dump(episodes, file)
    return episodes


def legacy_replay(trial: Trial, device: str) -> Replay:
    """A replay memory that draws what the legacy memory draws."""
    keys, n = trial.replay, trial.learner.return_steps
    exponents = keys.priority_exponent, keys.priority_weight
    records = RecordWindows(n, trial.learner.discount) if trial.prioritized else None
    return Replay(
        HostRing(keys.buffer_size),
        LegacyPrioritizedSampler(keys.buffer_size, n, *exponents) if records else LegacyUniformSampler(),
        keys.batch_size,
        device=device,
        batch_device=device,
        records=records,
        steps_at_once=STEPS_AT_ONCE,
    )


def device_replay(trial: Trial, device: str) -> Replay:
    """A replay memory that lets a GPU work; n-step returns follow each robot's own stream."""
    keys, n = trial.replay, trial.learner.return_steps
    where = device if keys.replay_device == "auto" else keys.replay_device
    exponents = keys.priority_exponent, keys.priority_weight
    on_host, size = torch.device(where).type == "cpu", keys.buffer_size
    ring = HostRing(size) if on_host else DeviceRing(size, where, keys.batch_size)
    return Replay(
        ring,
        PrioritizedSampler(size, *exponents, where) if trial.prioritized else UniformSampler(ring),
        keys.batch_size,
        device=where,
        batch_device=device,
        windows=RobotWindows(n, trial.learner.discount) if n > 1 else None,
    )


def device_update(agent: Agent, trial: Trial) -> Update:
    """Updates with less waste: the host waits for nothing; compiled whole, or at least Adam is one kernel."""
    agent.learner.stay_on_device()
    if trial.run.compile:
        return Update(agent.learner, compile=True, autocast=trial.run.autocast)
    for optimizer in agent.learner.optimizers.values():
        optimizer.param_groups[0].update(fused=True, foreach=False)
    return Update(agent.learner)


def build_progress(
    trial: Trial, env: MarineNavTorchRLEnv, folder: Path, verbosity: Verbosity, timings: Timings
) -> Progress:
    """Shows the run and writes its scalars into its folder."""
    world = trial.world
    return Progress(
        trial.schedule,
        world.num_envs,
        stage_names(world.training_schedule.timesteps, mixed=world.stage_mix),
        EpisodeStatistics(world.num_envs, env.max_robots, trial.learner.discount, env.device),
        ScalarLog(folder, trial.watch.logger),
        verbosity,
        timings,
    )


def build_trainer(
    trial: Trial, device: str, folder: Path, verbosity: Verbosity = Verbosity.NORMAL
) -> TorchRLTrainer:
    """Everything a trial needs, ready to learn; writes ``eval_configs.json`` into its existing folder.

    The device is that of networks, replay and, for the torch backend, the world.
    """
    seed_everything(trial.run.seed)
    timings, verbose = Timings(device), verbosity == Verbosity.VERBOSE
    build_parts = reproduction_parts if trial.reproduction else throughput_parts
    parts = build_parts(trial, device, folder, timings.lap, verbose)
    progress = build_progress(trial, parts.env, folder, verbosity, timings)
    listeners: tuple[StepListener, ...] = ()
    if verbose and trial.world.num_envs == 1:
        listeners = (EpisodeReports(trial.schedule, trial.learner.discount, progress.say),)
    return TorchRLTrainer(**parts._asdict(), schedule=trial.schedule, progress=progress, listeners=listeners)
