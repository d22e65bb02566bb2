"""What collects for a learner elsewhere: worlds and acting weights, in a process of a Ray cluster."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from torchrl_gpu.collect.step import Step
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.seeding import Generators, seed_everything


class Order(NamedTuple):
    """What a collector is asked for."""

    timestep: int  # the first one of the piece
    epsilons: tuple[float, ...]  # one for each of its vector steps
    version: int  # updates that the weights to act with have behind them


class Piece(NamedTuple):
    """Vector steps that a collector has made; ``columns`` are the tensors of `Step`, step after step."""

    timestep: int
    version: int
    fresh: bool  # whether its environments began with it
    columns: dict[str, Tensor]

    @property
    def bytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self.columns.values())

    def steps(self, stream: int) -> Iterator[Step]:
        """The vector steps, of the collector with this number."""
        for k in range(len(self.columns["rows"])):
            tensors = {name: column[k] for name, column in self.columns.items()}
            yield Step(**tensors, stream=stream, fresh=self.fresh and k == 0)


class Collector:
    """Makes vector steps when asked to.

    Args:
        build: Makes the steps, here.
        seed: Of what is drawn while acting.
    """

    def __init__(self, build: Callable[[], TensorSteps], seed: int) -> None:
        torch.set_num_threads(1)  # as in a trial: its networks are small
        self.steps = build()
        self._generators = Generators("cpu")
        self._fresh = True
        seed_everything(seed)

    def collect(self, order: Order, weights: np.ndarray | None = None) -> tuple[Any, ...]:
        """Make a piece, its columns as arrays, which travel as they are; without weights act as before."""
        if weights is not None:
            write_weights(self.steps.policy.agent.learner.acting_network, torch.tensor(weights))
        world = self.steps.env.world
        world.total_timesteps = order.timestep  # all collectors count: it selects the stage
        made = []
        for epsilon in order.epsilons:
            self.steps.policy.explore_at(epsilon)
            made.append(self.steps())
        world.check()
        tensors = {name: [getattr(step, name) for step in made] for name in COLUMNS}
        columns = {name: torch.stack(each).numpy() for name, each in tensors.items()}
        fresh, self._fresh = self._fresh, False
        return order.timestep, order.version, fresh, columns

    def state_dict(self) -> dict[str, Any]:
        """State from which another collector goes on identically; weights are sent separately."""
        return {
            "env": self.steps.env.world.state_dict(),
            "steps": self.steps.state_dict(),
            "generators": self._generators.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.steps.env.world.load_state_dict(state["env"])
        self.steps.load_state_dict(state["steps"])
        self._generators.load_state_dict(state["generators"])
        self._fresh = False


COLUMNS = ("rows", "acted", "ended", "reward", "outcome", "done")
"""Fields of a step that are tensors."""


def piece_of(answer: tuple[Any, ...]) -> Piece:
    """What `Collector.collect` gave, in memory of its own: that of the answer belongs to the cluster."""
    *told, columns = answer
    return Piece(*told, {name: torch.tensor(column) for name, column in columns.items()})


def read_weights(network: nn.Module) -> Tensor:
    """All parameters and buffers of a network in one row, on the CPU."""
    return torch.cat([each.detach().flatten().float().cpu() for each in network.state_dict().values()])


def write_weights(network: nn.Module, weights: Tensor) -> None:
    """Give a network what `read_weights` took from one like it."""
    tensors = list(network.state_dict().values())
    parts = weights.split([each.numel() for each in tensors])
    with torch.no_grad():
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
