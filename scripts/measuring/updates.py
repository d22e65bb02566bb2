"""Updates, in the ways to compute them, beside what none can do without: their matrix products alone."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, fx

from agents.learners.base import Learner
from agents.products import layer_by_onednn, onednn_is_faster, suits_onednn
from scripts.measuring.pipelines import Bench, Row, work_in_turns
from torchrl_gpu.experiment import build_agent
from torchrl_gpu.learn.stack import Stack, stacked
from torchrl_gpu.learn.update import Drawn, Update, device_update, traced_updates
from torchrl_gpu.learn.ways import Way
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.settings.trial import Trial

AT_ONCE = 20
"""Updates between two looks at the clock."""

PRODUCTS = {torch.ops.aten.mm.default: 0, torch.ops.aten.addmm.default: 1, torch.ops.aten.bmm.default: 0}
"""Operations that multiply matrices, and at which argument the two begin."""


class Products:
    """The matrix products of one update after the other, of the same shapes and strides on random numbers.

    They are found in the update as the compiler gets it, gradients included, and computed by the library that
    a compiled update takes (`agents.products`).
    """

    def __init__(self, learner: Learner, draw: Drawn) -> None:
        self._turns = cycle([_products(graph, learner.device) for graph in traced_updates(learner, draw)])

    @torch.no_grad()
    def __call__(self) -> None:
        """Those of the next update."""
        for multiply in next(self._turns):
            multiply()


def _products(graph: fx.GraphModule, device: str | torch.device) -> list[Callable[[], Any]]:
    """The products, in the order of the update."""
    by_onednn = torch.device(device).type == "cpu" and onednn_is_faster()
    found = []
    for node in graph.graph.nodes:
        if node.target in PRODUCTS:
            first = PRODUCTS[node.target]
            a, b = (_like(factor.meta["val"], device) for factor in node.args[first : first + 2])
            if by_onednn and a.ndim == 2 and suits_onednn(*a.shape, b.shape[1], a.dtype):
                found.append(partial(layer_by_onednn, a, b.t()))
            else:
                found.append(partial(torch.matmul, a, b, out=a @ b))
    return found


def _like(fake: Tensor, device: str | torch.device) -> Tensor:
    """Random numbers of the same shape and strides."""
    return torch.empty_strided(fake.shape, fake.stride(), dtype=fake.dtype, device=device).normal_()


def update(bench: Bench, agent: str) -> list[Row]:
    """Updates on one batch, beside their matrix products alone."""
    trial, [draw] = some_draws(bench, agent, 1)
    works: dict[str, Callable[[], Any]] = {
        "products alone": Products(build_agent(trial, bench.scope.device).learner, draw)
    }
    for name, way in ways(bench).items():
        learner = build_agent(trial, bench.scope.device).learner
        works[name] = partial(device_update(learner, way, trial.update), draw)
    for work in works.values():
        _many(bench, work, 0.0)  # warms up: compiles, or records a graph
    timed = {name: partial(_many, bench, work, bench.scope.seconds) for name, work in works.items()}
    return work_in_turns(bench, timed, bench.scope.rounds, agent=agent, unit="updates")


def seeds(bench: Bench, agent: str) -> list[Row]:
    """Updates of several seeds, one after the other and as one, in each way to compute them."""
    trial, draws = some_draws(bench, agent, bench.scope.seeds)
    whole, rows = stacked(draws), []
    for name, way in ways(bench).items():
        alone = [device_update(_learner(bench, trial), way, trial.update) for _ in draws]
        together = device_update(Stack([_learner(bench, trial) for _ in draws]), way, trial.update)
        works: dict[str, Callable[[], Any]] = {
            f"{name}, one after the other": partial(_each, alone, draws),
            f"{name}, together": partial(together, whole),
        }
        for work in works.values():
            _many(bench, work, 0.0)  # warms up
        timed = {
            name: partial(_many, bench, work, bench.scope.seconds, len(draws)) for name, work in works.items()
        }
        rows += work_in_turns(bench, timed, bench.scope.rounds, agent=agent, unit="updates of a seed")
    return rows


def _learner(bench: Bench, trial: Trial) -> Learner:
    return build_agent(trial, bench.scope.device).learner


def _each(updates: Sequence[Update], draws: Sequence[Draw]) -> None:
    for update, draw in zip(updates, draws, strict=True):
        update(draw)


def ways(bench: Bench) -> dict[str, Way]:
    """How updates can be computed on the device, by names."""
    if torch.device(bench.scope.device).type == "cpu":
        found = {"eager": Way(), "compiled": Way(compiled=True)}
    else:
        captured, both = Way(captured=True), Way(compiled=True, captured=True)
        found = {"eager": Way(), "CUDA graph": captured, "compiled CUDA graph": both}
    return {name: way for name, way in found.items() if bench.scope.compile or not way.compiled}


def some_draws(bench: Bench, agent: str, number: int) -> tuple[Trial, list[Draw]]:
    """A trial, and batches of the first transitions of its environments."""
    size = bench.trial(agent).replay.batch_size
    trial = bench.trial(agent, num_envs=size, backend="torch")
    steps = bench.trainer(trial).steps
    batches = [steps().rows[:size] for _ in range(number)]
    weighted = trial.prioritized
    return trial, [Draw(rows, weight=rows.new_ones(size) if weighted else None) for rows in batches]


def _many(bench: Bench, work: Callable[[], Any], seconds: float, worth: int = 1) -> int:
    """Do the same many times, for so long at least; how often, times what it is ``worth``."""
    start, done = bench.clock.wall(), 0
    while done == 0 or bench.clock.wall() - start < seconds:
        for _ in range(AT_ONCE):
            work()
        bench.clock.synchronize()
        done += AT_ONCE
    return done * worth
