"""What `scripts/benchmark.py` measures: ways of doing the same work, which take turns within one process."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from typing_extensions import Self

from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.layout import OBJECT_SIZE, SELF_SIZE
from scripts import train_rl_agents
from scripts.measuring.scope import Scope
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.one_by_one import create_eval_configs, evaluate
from torchrl_gpu.experiment import build_agent, build_trainer
from torchrl_gpu.seeding import EVAL_SEED, seed_everything
from torchrl_gpu.settings.parse import Trial, make_trials
from torchrl_gpu.torchrl_trainer import TorchRLTrainer
from torchrl_gpu.watch.progress import Verbosity

NEVER = 10**9
"""A timestep that no benchmark reaches."""
DRAWS = 20
"""Batches drawn in a round."""
ROBOT_STEPS = 5000
"""Transitions stored in a round."""

Row = dict[str, Any]


class Clock(NamedTuple):
    """Wall and CPU seconds of this process, all threads, read after all work handed to the device is done."""

    synchronize: Callable[[], None] = lambda: None
    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time

    @classmethod
    def of(cls, device: str) -> Self:
        """That of what a device does."""
        return cls(torch.cuda.synchronize) if torch.device(device).type == "cuda" else cls()

    def read(self) -> tuple[float, float]:
        """Seconds of the wall and of the processor, once the device has finished."""
        self.synchronize()
        return self.wall(), self.cpu()

    def time(self, work: Callable[[], int]) -> "Round":
        """Time a piece of work that returns how much it did."""
        wall, cpu = self.read()
        amount = work()
        end_wall, end_cpu = self.read()
        return Round(amount, end_wall - wall, end_cpu - cpu)


class Round(NamedTuple):
    """How much was done, and in which time (s)."""

    amount: int
    wall: float
    cpu: float


class Way(NamedTuple):
    """One way of doing something: does round 0, 1, ...; ``parts`` tells what took how many seconds so far."""

    name: str
    round: Callable[[int], Round]
    parts: Callable[[], dict[str, float]] = dict


def in_turns(ways: Sequence[Way], rounds: int, **labels: Any) -> list[Row]:
    """Let ways take turns, forwards and backwards; a row for each: labels, name and `rates`."""
    done: list[list[Round]] = [[] for _ in ways]
    before = [way.parts() for way in ways]
    for number in range(rounds):
        for way, measured in list(zip(ways, done, strict=True))[:: -1 if number % 2 else 1]:
            measured.append(way.round(number))
    rows = zip(ways, before, done, strict=True)
    return [
        {**labels, "pipeline": way.name, **rates(made, done[0], way.parts(), then)}
        for way, then, made in rows
    ]


def rates(done: list[Round], first: list[Round], parts: dict[str, float], before: dict[str, float]) -> Row:
    """Medians, also of the ratio to the first way in the same round; microseconds of parts for one unit."""
    amount = sum(each.amount for each in done)
    spent = {part: seconds - before.get(part, 0.0) for part, seconds in parts.items()}
    pairs = list(zip(done, first, strict=True))
    return {
        "per_s": statistics.median(each.amount / each.wall for each in done),
        "per_cpu_s": statistics.median(each.amount / each.cpu for each in done),
        "x_wall": statistics.median(a.amount / a.wall / (b.amount / b.wall) for a, b in pairs),
        "x_cpu": statistics.median(a.amount / a.cpu / (b.amount / b.cpu) for a, b in pairs),
        "parts_us": {part: 1e6 * seconds / amount for part, seconds in spent.items() if seconds},
        "rounds": [each._asdict() for each in done],
    }


class Enough(Exception):  # noqa: N818 (it is no error)
    """Ends a loop between two steps."""


class Loop(NamedTuple):
    """A trainer, held between two steps and taken up again; ``learn`` calls what it is given after each."""

    name: str
    learn: Callable[[Callable[[], None]], None]
    timestep: Callable[[], int]  # the first not yet made; one step of E environments is E timesteps
    agent: Agent
    parts: Callable[[], dict[str, float]] = dict

    def round(self, clock: Clock, begin: Callable[[], bool], enough: Callable[[float], bool]) -> Round:
        """Time whole steps from where ``begin`` holds until ``enough``, which is told the seconds since."""
        ends: list[tuple[int, float, float]] = []

        def between_steps() -> None:
            if enough(clock.wall() - ends[0][1]) if ends else begin():
                ends.append((self.timestep(), *clock.read()))
            if len(ends) == 2:
                raise Enough

        with suppress(Enough), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            self.learn(between_steps)
        return Round(*(end - start for start, end in zip(*ends, strict=True)))

    def weights(self) -> Iterable[torch.Tensor]:
        """Parameters that learn."""
        networks = self.agent.learner.networks(self.agent.policy_local).values()
        return [parameter.detach() for network in networks for parameter in network.parameters()]


class Bench(NamedTuple):
    """What is asked for: how much, a config without sweeps, the clock, and a folder for trainers."""

    scope: Scope
    written: dict[str, Any]
    clock: Clock
    folder: Path

    def trial(self, agent: str, **keys: Any) -> Trial:
        """One stage for ever: an evaluation after the warm-up, then learning, with the final epsilon."""
        stage = self.scope.stage
        schedule = {key: [values[stage]] for key, values in self.written["training_schedule"].items()}
        evaluation = {key: values[:1] for key, values in self.written["eval_schedule"].items()}
        settings = {
            "agent_type": agent,
            "training_schedule": schedule | {"timesteps": [0]},
            "eval_schedule": evaluation | {"num_episodes": [1]},
            "total_timesteps": NEVER,
            "eval_freq": NEVER,
            "learning_starts": self.scope.warm_up,
            "initial_eps": make_trials(self.written)[0]["final_eps"],
        }
        [trial] = make_trials(self.written | settings | keys)
        return trial

    def fast(self, num_envs: int) -> dict[str, Any]:
        """Keys of throughput mode; none for one environment."""
        fast = {"num_envs": num_envs, "backend": "torch", "compile": self.scope.compile}
        return fast if num_envs > 1 else {}

    def legacy_loop(self, trial: Trial) -> Loop:
        """The legacy pipeline, robot after robot on the NumPy world."""
        trainer = train_rl_agents.build_trainer(trial, self.scope.device)
        trainer.current_timestep = 1  # only where learning starts is there an evaluation
        learn = partial(trainer.learn, NEVER, NEVER, self.folder, False)
        return Loop("legacy", learn, lambda: trainer.current_timestep, trainer.rl_agent)

    def trainer(self, trial: Trial) -> TorchRLTrainer:
        """A silent trainer of the TorchRL pipeline."""
        return build_trainer(trial, self.scope.device, self.folder, Verbosity.QUIET)

    def torchrl_loop(self, trial: Trial) -> Loop:
        """The TorchRL pipeline: reproduction mode with one environment, throughput mode with more."""
        trainer = self.trainer(trial)
        trainer.timestep = 1  # as in the legacy loop
        trainer.timings.clock = time.process_time  # on a GPU its own clock counts
        trainer.timings.restart()
        name, learn = f"TorchRL, E = {trainer.num_envs}", partial(trainer.learn, self.folder)
        return Loop(name, learn, lambda: trainer.timestep, trainer.agent, trainer.timings.read)


def reproduction(bench: Bench, agent: str) -> list[Row]:
    """The second half of the same run, from the seeds 0, 1, ...; both must end with the same weights."""
    last, ends = bench.scope.timesteps, {}

    def second_half(build: Callable[[Trial], Loop], number: int) -> Round:
        loop = build(bench.trial(agent, seed=number, learning_starts=last // 2))
        half, whole = (lambda: loop.timestep() > last // 2), (lambda _: loop.timestep() > last)
        done = loop.round(bench.clock, half, whole)
        ends[loop.name] = loop.weights()
        return done

    builders = {"legacy": bench.legacy_loop, "TorchRL, E = 1": bench.torchrl_loop}
    ways = [Way(name, partial(second_half, build)) for name, build in builders.items()]
    rows = in_turns(ways, bench.scope.rounds, agent=agent, unit="timesteps")
    if not all(torch.equal(a, b) for a, b in zip(*ends.values(), strict=True)):
        raise OSError(f"{agent}: the pipelines ended the same run with different weights")
    return rows


def training(bench: Bench, agent: str) -> list[Row]:
    """Loops that learn."""
    return loops(bench, agent, bench.scope.num_envs)


def collection(bench: Bench, agent: str, legacy: bool = True) -> list[Row]:
    """Loops that do not."""
    never = {"total_timesteps": NEVER + 1, "learning_starts": NEVER}
    return loops(bench, agent, bench.scope.collect_envs, legacy, **never)


def loops(bench: Bench, agent: str, num_envs: Sequence[int], legacy: bool = True, **keys: Any) -> list[Row]:
    """The legacy loop if asked for, and the TorchRL loop for each number of environments."""
    numbers = sorted(num_envs)
    made = [bench.legacy_loop(bench.trial(agent, **keys))] if legacy else []
    made += [bench.torchrl_loop(bench.trial(agent, **bench.fast(number), **keys)) for number in numbers]
    for loop, number in zip(made, [1] * legacy + numbers, strict=True):
        warm = bench.scope.warm_up + 2 * number  # a vector step that learns, and compiles
        loop.round(bench.clock, lambda loop=loop, warm=warm: loop.timestep() > warm, lambda _: True)

    def one_round(loop: Loop, number: int) -> Round:
        return loop.round(bench.clock, lambda: True, lambda passed: passed >= bench.scope.seconds)

    ways = [Way(loop.name, partial(one_round, loop), loop.parts) for loop in made]
    return in_turns(ways, bench.scope.rounds, agent=agent, unit="timesteps")


def evaluation(bench: Bench, agent: str, legacy: bool = True) -> list[Row]:
    """Whole evaluations by untrained networks: one episode after another if asked for, and side by side."""
    trial = bench.trial(agent, eval_schedule=bench.written["eval_schedule"])
    seed_everything(trial["seed"])
    world = MarineNavEnv3(EVAL_SEED, is_eval_env=True)
    episodes = create_eval_configs(world, trial["eval_schedule"])
    learner = build_agent(trial, bench.scope.device)
    compiled = {"compile": bench.scope.compile, "verbose": False}
    batched = BatchedEvaluation(learner, episodes, bench.scope.device, **compiled)
    if bench.scope.compile:
        batched()  # compiles
    players = {"legacy": lambda: len(evaluate(world, learner, episodes, verbose=False))} if legacy else {}
    players["TorchRL, side by side"] = lambda: len(batched())
    return work_in_turns(bench, players, bench.scope.rounds, agent=agent, unit="episodes")


def work_in_turns(bench: Bench, works: dict[str, Callable[[], int]], rounds: int, **labels: Any) -> list[Row]:
    """Time pieces of work in turns."""
    ways = [Way(name, lambda _, work=work: bench.clock.time(work)) for name, work in works.items()]
    return in_turns(ways, rounds, **labels)


Memory = tuple[Callable[[], int], Callable[[], int]]
"""Functions that store and that draw; how much."""


def replay(bench: Bench) -> list[Row]:
    """Storing transitions and drawing batches, from full memories of different sizes."""
    names = {learner.prioritized: name for name, learner in reversed(LEARNERS.items())}
    rows = []
    for size in sorted(bench.scope.sizes):
        memories = {
            "legacy, uniform": legacy_memory(bench, bench.trial(names[False], buffer_size=size)),
            "TorchRL, uniform": torchrl_memory(bench, names[False], size),
            "TorchRL, prioritised": torchrl_memory(bench, names[True], size),
        }
        for _ in range(0, size, ROBOT_STEPS):
            for store, _ in memories.values():
                store()
        for k, unit in enumerate(("transitions stored", "batches drawn")):
            works = {name: memory[k] for name, memory in memories.items()}
            rows += work_in_turns(bench, works, 10 * bench.scope.rounds, stored=size, unit=unit)
    return rows


def legacy_memory(bench: Bench, trial: Trial) -> Memory:
    """The legacy memory; a batch of it is lists, which become tensors only later."""
    agent = train_rl_agents.build_trainer(trial, bench.scope.device).rl_agent
    state = ([0.5] * SELF_SIZE, [[0.5] * OBJECT_SIZE] * 2)

    def store() -> int:
        for _ in range(ROBOT_STEPS):
            agent.store(state, [0.1, 0.2], 1.0, state, False)
        return ROBOT_STEPS

    return store, lambda: len([agent.memory.sample() for _ in range(DRAWS)])


def torchrl_memory(bench: Bench, agent: str, size: int) -> Memory:
    """The replay of throughput mode; it stores the first step of its environments again and again."""
    robots = bench.written["training_schedule"]["num_robots"][bench.scope.stage]
    keys = {"num_envs": -(-ROBOT_STEPS // robots), "backend": "torch", "buffer_size": size}
    trainer = bench.trainer(bench.trial(agent, **keys))
    step = trainer.steps()

    def store() -> int:
        trainer.replay.store(step)
        return ROBOT_STEPS

    return store, lambda: len(list(trainer.replay.sample(DRAWS)))


OF_AGENTS = {each.__name__: each for each in (reproduction, training, collection, evaluation)}
"""Measurements of one agent after another."""
