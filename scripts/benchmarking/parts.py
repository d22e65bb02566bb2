"""Evaluation and replay, measured by themselves."""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents.agent import ALGORITHMS, Agent
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from scripts.benchmarking.measuring import Clock
from scripts.benchmarking.pipelines import device_clock
from torchrl_gpu.collect.tensor_steps import step_of
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.one_by_one import create_eval_configs, evaluate
from torchrl_gpu.experiment import build_agent, build_replay
from torchrl_gpu.seeding import EVAL_SEED, seed_everything
from torchrl_gpu.settings.parse import Trial

ROBOTS = 5
EXTEND = 5000
SAMPLE = 64
Timed = tuple[float, float]
"""Wall and CPU seconds."""


def timed(clock: Clock, work: Callable[[], Any]) -> tuple[Timed, Any]:
    """Time one call; returns the times and what it returned."""
    wall, cpu = clock.read()
    result = work()
    end_wall, end_cpu = clock.read()
    return (end_wall - wall, end_cpu - cpu), result


def measure_evaluation(trial: Trial, device: str, rounds: int, compiled: bool) -> list[dict[str, Any]]:
    """Time the evaluation of all episodes of the config's `eval_schedule`, untrained networks acting.

    Args:
        trial: Of the agent to evaluate.
        device: Of networks and, batched, of the worlds.
        rounds: How often each is played, in turn.
        compiled: Compile the worlds of the batched evaluation; it is called once before it is timed.

    Returns:
        A row for the legacy evaluation and one for the batched, each with its rounds.
    """
    seed_everything(trial["seed"])
    world = MarineNavEnv3(EVAL_SEED, is_eval_env=True)
    episodes = create_eval_configs(world, trial["eval_schedule"])
    agent = build_agent(trial, device)
    batched = BatchedEvaluation(agent, episodes, device, compile=compiled, verbose=False)
    batched()
    ways = {
        "legacy": lambda: evaluate(world, agent, episodes, verbose=False),
        "torchrl": batched,
    }
    rows = {name: _evaluation_row(name, trial, len(episodes)) for name in ways}
    clock = device_clock(device)
    for _ in range(rounds):
        for name, play in ways.items():
            (wall, cpu), results = timed(clock, play)
            steps = robot_steps(results)
            rows[name]["rounds"].append({"wall_s": wall, "cpu_s": cpu, "robot_steps": steps})
    return list(rows.values())


def _evaluation_row(name: str, trial: Trial, episodes: int) -> dict[str, Any]:
    return {"agent": trial["agent_type"], "pipeline": name, "episodes": episodes, "rounds": []}


def robot_steps(results: list[EpisodeResult]) -> int:
    """Steps that robots made in all episodes of an evaluation."""
    return sum(len(actions) for result in results for actions in result.actions)


def measure_replay(trial: Trial, device: str, sizes: list[int], repeats: int) -> list[dict[str, Any]]:
    """Time storing 5000 transitions and drawing a batch of 64, from memories full to different sizes.

    Args:
        trial: Any; gives the keys of the replay.
        device: Of the TorchRL replay.
        sizes: Transitions stored, which is also the capacity.
        repeats: How often each is timed; the median counts. Sizes take turns.

    Returns:
        A row for each kind of memory and size.
    """
    clock = device_clock(device)
    cases = [
        ({"memory": memory, "stored": size}, make(trial, device, size))
        for memory, make in MEMORIES.items()
        for size in sizes
    ]
    times: list[list[tuple[Timed, Timed]]] = [[] for _ in cases]
    for _ in range(repeats):
        for (_, (extend, sample)), taken in zip(cases, times, strict=True):
            taken.append((timed(clock, extend)[0], timed(clock, sample)[0]))
    return [
        labels | {f"{name}_us": _median_us(taken, k) for k, name in enumerate(("extend_5000", "sample_64"))}
        for (labels, _), taken in zip(cases, times, strict=True)
    ]


def _median_us(taken: list[tuple[Timed, Timed]], k: int) -> dict[str, float]:
    return {
        name: 1e6 * statistics.median(times[k][part] for times in taken)
        for part, name in enumerate(("wall", "cpu"))
    }


Memory = tuple[Callable[[], Any], Callable[[], Any]]
"""Store 5000 transitions; draw a batch of 64."""


def legacy_memory(trial: Trial, device: str, size: int) -> Memory:
    """The legacy uniform memory; its batch is lists, which become tensors only later."""
    agent = Agent(agent_type="DDPG", BUFFER_SIZE=size, BATCH_SIZE=SAMPLE)
    state = ([0.5] * 7, [[0.5] * 5] * 2)

    def extend() -> None:
        for _ in range(EXTEND):
            agent.store(state, [0.1, 0.2], 1.0, state, False)

    for _ in range(-(-size // EXTEND)):
        extend()
    return extend, agent.memory.sample


def torchrl_memory(agent_type: str) -> Callable[[Trial, str, int], Memory]:
    """The replay of the throughput mode of an agent."""

    def make(trial: Trial, device: str, size: int) -> Memory:
        keys = {"agent_type": agent_type, "buffer_size": size, "batch_size": SAMPLE, "backend": "torch"}
        replay = build_replay(Trial(trial.values | keys), device)
        step = first_step(ALGORITHMS[agent_type].continuous, device)
        while len(replay.buffer) < size:
            replay.store(*step)
        return lambda: replay.store(*step), lambda: next(iter(replay.sample(1)))

    return make


def first_step(continuous: bool, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """A first step of as many environments as give 5000 transitions, as a replay stores it."""
    sizes = {"num_robots": ROBOTS, "num_cores": 0, "num_obs": 4}
    env = MarineNavTorchRLEnv(
        EXTEND // ROBOTS, backend="torch", seed=0, continuous=continuous, device=device, **sizes
    )
    with torch.no_grad():
        return step_of(env.step(env.rand_action(env.reset())))[:3]


MEMORIES: dict[str, Callable[[Trial, str, int], Memory]] = {
    "legacy uniform": legacy_memory,
    "torchrl uniform": torchrl_memory("DDPG"),
    "torchrl prioritised": torchrl_memory("Rainbow"),
}
