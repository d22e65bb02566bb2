"""One gradient update of a learner on what a replay draws: as it is written, compiled, or as a CUDA graph.

Most of an eager update is autograd and optimiser dispatch on small matrices, so a graph holds losses,
gradients, clipping and Adam together. Random numbers are drawn outside and handed in: whichever way it is
computed, an update draws what it always draws.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor, fx

from agents.batch import Batch
from agents.learners.descent import Descent, Gradients, Noise, Stage
from agents.settings import Section, key
from marinenav_env.envs.torchrl_gpu.compilation import reason, tell
from torchrl_gpu.learn.adam import Step, materialise_state, step_by_formula, step_in_few_kernels
from torchrl_gpu.learn.captured import Captured
from torchrl_gpu.learn.lowered import Function, lower, trace
from torchrl_gpu.learn.ways import Way

Drawn = tuple[Tensor, Tensor | None, Tensor | None]
"""Rows of transitions, their slots in the memory, their importance weights: a `Draw` of a replay."""


class UpdateSettings(Section):
    """What is compiled."""

    compile: bool | Literal["auto"] = key(
        False,
        "compile the step of the tensor world and the whole update; `auto`: what the run is long enough for",
        throughput=True,
    )
    autocast: bool = key(False, "bfloat16 matrix products in updates that may be compiled", throughput=True)

    @model_validator(mode="after")
    def _autocast_where_compiled(self) -> "UpdateSettings":
        if self.autocast and not self.compile:
            raise ValueError("key 'autocast': true needs 'compile' true or \"auto\"")
        return self


class Update:
    """Gradient updates of a learner; all ways give the same numbers up to rounding.

    They work on the learner's own parameters and on the state of its own optimisers, so that checkpoints and
    target copies see nothing of it. Precision and clipping of a graph are those of its first update. Where it
    is not eager the learner draws on its device and looks at no batch; ``autocast`` is for such updates
    alone: bfloat16 matrix products in forward and backward passes.
    """

    def __init__(self, learner: Descent, way: Way = Way(), autocast: bool = False) -> None:  # noqa: B008
        self.learner = learner
        self.way = way
        self.autocast = autocast
        # What has its turn together is one graph; learners whose stages all come every time have one.
        self._graphs: dict[tuple[Stage, ...], _Graph] = {}
        self._states: list[dict] = []  # of the optimisers, that graphs work on
        if not way.eager:
            learner.stay_on_device()

    def __call__(self, draw: Drawn) -> dict[str, Tensor]:
        """One update on what a replay has drawn; see `Descent.update`."""
        rows, index, weight = draw
        if self.way.eager:
            batch = Batch.of(rows, self.learner.continuous, index, weight)
            if not self.autocast:
                return self.learner.update(batch)
            with in_bfloat16(self.learner):
                return self.learner.update(batch)
        self._follow_states()
        stages = self.learner.next_stages()
        if stages not in self._graphs:
            self._graphs[stages] = _Graph(self.learner, stages, self.way, self.autocast)
        return self._graphs[stages](rows, weight)

    def _follow_states(self) -> None:
        """Make graphs anew where a checkpoint has given the optimisers other states."""
        states = [optimizer.state for optimizer in self.learner.optimizers.values()]
        if len(states) == len(self._states) and all(
            a is b for a, b in zip(states, self._states, strict=True)
        ):
            return
        for optimizer in self.learner.optimizers.values():
            materialise_state(optimizer)
        self._graphs, self._states = {}, states


class _Graph:
    """The update of some stages, what `Descent.descend` does, made into a function of tensors."""

    def __init__(self, learner: Descent, stages: tuple[Stage, ...], way: Way, autocast: bool) -> None:
        self.learner = learner
        self.stages = [stage._replace(loss=self._in_precision(stage.loss)) for stage in stages]
        self.way = way
        self.autocast = autocast
        self._learning_rate = torch.empty((), device=learner.device)  # an input: it may change
        self._filled: float | None = None  # with
        self._names: list[str] = []  # of the losses
        self._drawn: list[str] = []  # names of the noise
        self._functions: dict[tuple, Function] = {}  # for shapes of inputs

    def __call__(self, rows: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        inputs = self._inputs(rows, weight)
        kind = (rows.shape, weight is None)
        if kind not in self._functions:
            self._functions[kind] = self._make(inputs)
        losses = self._functions[kind](*inputs)  # which tells their names, the first time
        return dict(zip(self._names, losses, strict=True))

    def trace(self, rows: Tensor, weight: Tensor | None) -> fx.GraphModule:
        """The operations of the update, as the compiler gets them."""
        inputs = self._inputs(rows, weight)
        return trace(self._descent(step_by_formula), inputs)

    def _inputs(self, rows: Tensor, weight: Tensor | None) -> list[Tensor]:
        """Rows, step size, noise, and weights if there are any."""
        noise = self.learner.draw_noise(rows.shape[-2])
        self._drawn = list(noise)
        if self._filled != self.learner.learning_rate:
            self._filled = self.learner.learning_rate
            self._learning_rate.fill_(self._filled)
        return [rows, self._learning_rate, *noise.values()] + ([] if weight is None else [weight])

    def _make(self, inputs: Sequence[Tensor]) -> Function:
        function = self._descent(step_in_few_kernels)
        if self.way.compiled:
            try:
                function = lower(self._descent(step_by_formula), inputs, "the update")
            except Exception as error:
                self._failed("compiled", error)
        if not self.way.captured:
            return function
        return Captured(function, self.learner.device, lambda error: self._failed("a CUDA graph", error))

    def _descent(self, step: Step) -> Function:
        """The update as a function of its inputs: the stages' losses."""
        noise = self._drawn

        def descent(rows: Tensor, learning_rate: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
            def step_network(name: str, gradients: Gradients) -> None:
                learner, limit = self.learner, self.learner.settings.max_grad_norm
                step(learner.optimizers[name], gradients, learning_rate, limit, learner.lead)

            drawn, weight = dict(zip(noise, others, strict=False)), others[len(noise) :]
            batch = Batch.of(rows, self.learner.continuous, weight=weight[0] if weight else None)
            losses = self.learner.descend(self.stages, batch, drawn, step_network)
            self._names = list(losses)
            return tuple(losses.values())

        return descent

    def _in_precision(self, loss: Callable[[Batch, Noise], dict[str, Tensor]]) -> Callable:
        def in_precision(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            with in_bfloat16(self.learner, self.autocast):
                return loss(batch, noise)

        return in_precision

    def _failed(self, what: str, error: Exception) -> None:
        """Say in a line that the update is not what it should be, or refuse to go on."""
        line = f"the update cannot be {what}: {reason(error)}"
        if not self.way.optional:
            raise RuntimeError(f'{line}; "compile": "auto" goes on without') from error
        tell(f"{line}; it goes on without")


def traced_updates(learner: Descent, draw: Drawn) -> Iterator[fx.GraphModule]:
    """The operations of updates on a draw like this, until all stages have had their turn; none is made."""
    for optimizer in learner.optimizers.values():
        materialise_state(optimizer)
    stages = learner.stages()
    for number in range(1, max(stage.every for stage in stages) + 1):
        turn = tuple(stage for stage in stages if number % stage.every == 0)
        yield _Graph(learner, turn, Way(), False).trace(draw[0], draw[2])


def in_bfloat16(learner: Descent, enabled: bool = True) -> AbstractContextManager:
    """Within the block matrix products are in bfloat16."""
    # Without the cache of cast weights: stages differentiate one after the other.
    kind = torch.device(learner.device).type
    return torch.autocast(kind, torch.bfloat16, enabled=enabled, cache_enabled=False)


def device_update(learner: Descent, way: Way, settings: UpdateSettings) -> Update:
    """Updates with less waste: the host waits for nothing, and Adam is one kernel at most."""
    learner.stay_on_device()
    if way.eager:
        for optimizer in learner.optimizers.values():
            optimizer.param_groups[0].update(fused=True, foreach=False)
    return Update(learner, way, settings.autocast)
