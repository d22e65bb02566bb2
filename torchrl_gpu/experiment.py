"""From one trial of a config to a trainer: seeds, worlds, agent, replay, evaluation, in the legacy order."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.episode import write_episode
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.collect.plain_steps import PlainSteps
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.remote_steps import RemoteSteps, RemoteWorlds
from torchrl_gpu.collect.step import Lap
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.collect.worlds import build_env
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.film import Film
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.one_by_one import create_eval_configs, evaluate
from torchrl_gpu.learn.average import AveragedWeights
from torchrl_gpu.learn.gradients import averaged
from torchrl_gpu.learn.scale import ObservationScale
from torchrl_gpu.learn.update import Update, device_update
from torchrl_gpu.learn.ways import Way
from torchrl_gpu.ranks import ALONE, Ranks
from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.memories import device_replay, legacy_replay
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.seeding import AGENT_SEED_OFFSET, reseed_as_uniform_memory, seed_everything, seed_of_rank
from torchrl_gpu.settings.trial import Trial
from torchrl_gpu.torchrl_trainer import StepListener, TorchRLTrainer
from torchrl_gpu.watch.episode_report import EpisodeReports
from torchrl_gpu.watch.loggers import LoggerSettings, ScalarLog
from torchrl_gpu.watch.progress import Progress, Verbosity, stage_names
from torchrl_gpu.watch.statistics import EpisodeStatistics, StreamStatistics
from torchrl_gpu.watch.timings import Timings

Evaluate = Callable[[], list[EpisodeResult]]


class Parts(NamedTuple):
    """What a mode decides about, as `TorchRLTrainer` takes it."""

    env: MarineNavTorchRLEnv | RemoteWorlds
    agent: Agent
    policy: PolicyWrapper
    steps: PlainSteps | TensorSteps | RemoteSteps
    replay: Replay
    update: Callable[[Draw], dict[str, torch.Tensor]]
    evaluate: Evaluate
    average: AveragedWeights | None = None
    raw_networks: Callable[[], AbstractContextManager] = nullcontext
    keep_best: bool = False


def reproduction_parts(
    trial: Trial, device: str, folder: Path, lap: Lap, verbose: bool, ranks: Ranks
) -> Parts:
    """The legacy pipeline's numbers: one world, one robot after the other, the legacy draws, one process."""
    env = training_env(trial.of_rank(ranks.count), device, torch.float64, Way(), ranks.number)
    world = MarineNavEnv3(trial.episodes.eval_seed, is_eval_env=True)
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
        replay=legacy_replay(trial.replay, trial.learner, trial.prioritized, device),
        update=Update(agent.learner),
        evaluate=partial(evaluate, world, agent, episodes, verbose=verbose),
    )


def throughput_parts(trial: Trial, device: str, folder: Path, lap: Lap, verbose: bool, ranks: Ranks) -> Parts:
    """Many environments at once: batched acting, replay on the device, episodes played side by side.

    Each of several ranks has its share of the environments and of the transitions kept and drawn; collectors
    have environments of their own.
    """
    ways, trial = trial.ways(device), trial.of_rank(ranks.count)
    collectors = trial.collect.collectors
    if collectors:
        env = RemoteWorlds(trial.world.num_envs, max(trial.world.training_schedule.num_robots))
    else:
        env = training_env(trial, device, torch.float32, ways.world, ranks.number)
    world = MarineNavEnv3(trial.episodes.eval_seed, is_eval_env=True)
    agent = build_agent(trial, device)  # the same on all ranks
    if ranks.count > 1:
        agent.learner.combine = averaged
    scale = ObservationScale(device) if trial.scale.observation_scale else None
    if scale and trial.run.load_model is not None:
        scale.unfold_(agent.learner)
    episodes = write_episodes(trial, world, folder)
    policy = PolicyWrapper(agent, trial.policy, scale=scale)
    return Parts(
        env=env,
        agent=agent,
        policy=policy,
        steps=remote_steps(trial, agent, lap) if collectors else TensorSteps(env, policy, lap, trial.steps),
        replay=device_replay(trial.replay, trial.learner, trial.prioritized, device, max(collectors, 1)),
        update=device_update(agent.learner, ways.update, trial.update),
        evaluate=BatchedEvaluation(
            agent,
            episodes,
            device,
            trial.record,
            compile=_compiled(ways.evaluation),
            seed=trial.episodes.eval_seed,
            verbose=verbose,
        ),
        average=AveragedWeights(agent.learner, trial.average) if trial.average.average_tau < 1 else None,
        raw_networks=partial(scale.folded, agent.learner) if scale else nullcontext,
        keep_best=True,
    )


def remote_steps(trial: Trial, agent: Agent, lap: Lap) -> RemoteSteps:
    """Steps that collectors on the Ray cluster make, to which this process is connected."""
    import ray  # an extra

    return RemoteSteps(
        ray,
        partial(steps_of_collector, trial),
        partial(seed_of_rank, trial.run.seed),
        trial.collect,
        trial.schedule,
        trial.world.num_envs,
        agent.learner,
        trial.cluster.num_cpus,
        lap,
    )


def steps_of_collector(trial: Trial, number: int, seed: int) -> TensorSteps:
    """What a collector of a trial steps, where it runs: worlds, and networks that wait for their weights.

    Its ``number`` is its place among the collectors, ``seed`` the number of its seed among theirs.
    """
    env = training_env(trial, "cpu", torch.float32, trial.ways("cpu").world, seed, number)
    agent = Agent(settings=trial.learner, training=False, agent_type=trial.run.agent_type)
    agent.learner.stay_on_device()
    scale = ObservationScale("cpu") if trial.scale.observation_scale else None
    return TensorSteps(env, PolicyWrapper(agent, trial.policy, scale=scale), settings=trial.steps)


def _compiled(way: Way) -> dict[str, Any] | bool:
    """What a world takes for ``compile``."""
    return {"optional": way.optional} if way.compiled else False


def training_env(
    trial: Trial, device: str, dtype: torch.dtype, way: Way, seed: int, place: int | None = None
) -> MarineNavTorchRLEnv:
    """The environments of one of several processes, by the number of its seed and, if another, its place."""
    return build_env(
        trial.world,
        seed_of_rank(trial.run.seed, seed),
        continuous=LEARNERS[trial.run.agent_type].continuous,
        device=device,
        dtype=dtype,
        compile=_compiled(way),
        first=(seed if place is None else place) * trial.world.num_envs,
    )


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
    episodes = create_eval_configs(world, trial.episodes.eval_schedule.model_dump())
    write_episode(episodes, folder / "eval_configs.json")
    return episodes


def build_progress(
    trial: Trial,
    parts: Parts,
    folder: Path,
    verbosity: Verbosity,
    timings: Timings,
    ranks: Ranks,
) -> Progress:
    """Shows the run and writes its scalars into its folder; other loggers than CSV hear the first rank."""
    world = trial.world
    return Progress(
        trial.schedule,
        world.num_envs,
        stage_names(world.training_schedule.timesteps, mixed=world.stage_mix),
        _statistics(trial, parts.env),
        ScalarLog(folder, trial.logger if ranks.first else LoggerSettings(), trial.values),
        verbosity,
        timings,
        ranks,
        parts.steps.scalars if trial.collect.collectors else dict,
        trial.name if trial.leader else "",
    )


def _statistics(
    trial: Trial, env: MarineNavTorchRLEnv | RemoteWorlds
) -> EpisodeStatistics | StreamStatistics:
    shape = env.batch_size[0], env.max_robots, trial.learner.discount, env.device
    if trial.collect.collectors:
        return StreamStatistics([EpisodeStatistics(*shape) for _ in range(trial.collect.collectors)])
    return EpisodeStatistics(*shape)


def build_trainer(
    trial: Trial,
    device: str,
    folder: Path,
    verbosity: Verbosity = Verbosity.NORMAL,
    ranks: Ranks = ALONE,
) -> TorchRLTrainer:
    """Everything a trial needs, ready to learn; writes ``eval_configs.json`` into its existing folder.

    The device is that of networks, replay and, for the torch backend, the world.
    """
    seed_everything(trial.run.seed)
    timings, verbose = Timings(device), verbosity == Verbosity.VERBOSE
    build_parts = reproduction_parts if trial.reproduction else throughput_parts
    parts = build_parts(trial, device, folder, timings.lap, verbose, ranks)
    if not ranks.first:  # equal networks, but draws of its own
        seed_everything(seed_of_rank(trial.run.seed, ranks.number))
    progress = build_progress(trial, parts, folder, verbosity, timings, ranks)
    listeners: tuple[StepListener, ...] = ()
    if verbose and trial.world.num_envs == 1:
        listeners = (EpisodeReports(trial.schedule, trial.learner.discount, progress.say),)
    return TorchRLTrainer(
        **parts._asdict(),
        schedule=trial.schedule,
        progress=progress,
        film=film_of(trial, parts.agent, folder, device),
        listeners=listeners,
        ranks=ranks,
    )


def film_of(trial: Trial, agent: Agent, folder: Path, device: str) -> Film | None:
    """Films the first evaluation episode of a trial's folder, if it asks for that."""
    if not trial.logger.video_every:
        return None
    episodes = json.loads((folder / "eval_configs.json").read_text(encoding="utf-8"))
    return Film(agent, episodes[0], trial.logger.video_every, device)
