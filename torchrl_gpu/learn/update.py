"""One gradient update of a learner on what a replay draws: as it is written, or as one compiled graph.

Most of an eager update is autograd and optimiser dispatch on small matrices; compiling only the losses leaves
that cost in place, so the graph holds losses, gradients, clipping and Adam together. Random numbers are drawn
outside and handed in, so that a replayed CUDA graph never repeats them.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor

from agents.batch import Batch
from agents.learners.base import Gradients, Learner, Noise, Stage
from agents.settings import Section, key
from marinenav_env.envs.torchrl_gpu.compilation import compile_whole, unguarded

CLIP_EPS = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""

Drawn = tuple[Tensor, Tensor | None, Tensor | None]
"""Rows of transitions, their slots in the memory, their importance weights: a `Draw` of a replay."""


class UpdateSettings(Section):
    """What is compiled."""

    compile: bool = key(False, "compile the step of the tensor world and the whole update", throughput=True)
    autocast: bool = key(False, "bfloat16 matrix products in compiled updates", throughput=True)

    @model_validator(mode="after")
    def _autocast_where_compiled(self) -> "UpdateSettings":
        if self.autocast and not self.compile:
            raise ValueError("key 'autocast': true needs 'compile' true")
        return self


class Update:
    """Gradient updates of a learner; compiled ones give the same numbers up to rounding.

    They work on the learner's own parameters and on the state of its own optimisers, so that checkpoints and
    target copies see nothing of it. Precision and clipping of a graph are those of its first update. With
    ``compile`` the learner draws on its device and looks at no batch; ``autocast`` is for such updates alone:
    bfloat16 matrix products in forward and backward passes.
    """

    def __init__(self, learner: Learner, settings: UpdateSettings = UpdateSettings()) -> None:  # noqa: B008
        self.learner = learner
        self.settings = settings
        # What has its turn together is one graph; learners whose stages all come every time have one.
        self._graphs: dict[tuple[Stage, ...], _Graph] | None = {} if settings.compile else None
        if settings.compile:
            check_torch()
            learner.stay_on_device()

    def __call__(self, draw: Drawn) -> dict[str, Tensor]:
        """One update on what a replay has drawn; see `Learner.update`."""
        if self._graphs is None:
            rows, index, weight = draw
            return self.learner.update(Batch.of(rows, self.learner.continuous, index, weight))
        stages = self.learner.next_stages()
        if not self._graphs:  # not before: a resumed run restores the state first
            for optimizer in self.learner.optimizers.values():
                _materialise_state(optimizer)
        if stages not in self._graphs:
            self._graphs[stages] = _Graph(self.learner, stages, self.settings.autocast)
        return self._graphs[stages](draw)


class _Graph:
    """The update of some stages, compiled: what `Learner.descend` does, with an Adam that compiles well."""

    def __init__(self, learner: Learner, stages: tuple[Stage, ...], autocast: bool) -> None:
        self.learner = learner
        self.autocast = autocast
        self.device_type = torch.device(learner.device).type
        self.stages = [stage._replace(loss=self._in_precision(stage.loss)) for stage in stages]
        # Calls between kernels take as long as small kernels do. On the CPU C++ makes them, not Python; on a
        # GPU they are recorded once, as a CUDA graph.
        self.captured = self.device_type == "cuda"
        options = {"triton.cudagraphs": True} if self.captured else {"cpp_wrapper": True}
        self._compiled = compile_whole(self._descend, options=options)
        self._learning_rate = torch.empty((), device=learner.device)  # an input: it may change
        self._shape: torch.Size | None = None  # of the rows of the update before

    def __call__(self, draw: Drawn) -> dict[str, Tensor]:
        rows, _, weight = draw
        noise = self.learner.draw_noise(len(rows))
        self._learning_rate.fill_(self.learner.learning_rate)
        known, self._shape = self._shape == rows.shape, rows.shape
        # Graphs that differentiate inside are allowed for those of updates alone.
        with unguarded() if known else torch._dynamo.config.patch(trace_autograd_ops=True):
            losses = self._compiled(rows, weight, noise, self._learning_rate)
        if self.captured:  # the next replay writes its losses to the same places
            losses = {name: loss.clone() for name, loss in losses.items()}
        return losses

    def _in_precision(self, loss: Callable[[Batch, Noise], dict[str, Tensor]]) -> Callable:
        def in_precision(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            # Without the cache of cast weights: stages differentiate one after the other.
            with torch.autocast(self.device_type, torch.bfloat16, enabled=self.autocast, cache_enabled=False):
                return loss(batch, noise)

        return in_precision

    def _descend(
        self, rows: Tensor, weight: Tensor | None, noise: Noise, learning_rate: Tensor
    ) -> dict[str, Tensor]:
        def step(name: str, gradients: Gradients) -> None:
            self._step(name, gradients, learning_rate)

        batch = Batch.of(rows, self.learner.continuous, weight=weight)
        return self.learner.descend(self.stages, batch, noise, step)

    def _step(self, name: str, gradients: Gradients, learning_rate: Tensor) -> None:
        """Adam with a clipped gradient (Kingma & Ba 2015), on the state of the learner's optimiser."""
        optimizer = self.learner.optimizers[name]
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()  # over all
        ratio = self.learner.settings.max_grad_norm / (norm + CLIP_EPS)
        scale = ratio.log().clamp(max=0.0).exp()  # what holds an exponential is computed once, see `adam`
        with torch.no_grad():
            scaled = [gradient * scale for gradient in gradients]
            parameters = self.learner.parameters(name)
            adam(optimizer.param_groups[0], learning_rate, optimizer.state, parameters, scaled)


def device_update(learner: Learner, settings: UpdateSettings) -> Update:
    """Updates with less waste: the host waits for nothing; compiled whole, or at least Adam is one kernel."""
    learner.stay_on_device()
    if not settings.compile:
        for optimizer in learner.optimizers.values():
            optimizer.param_groups[0].update(fused=True, foreach=False)
    return Update(learner, settings)


def check_torch() -> None:
    """Refuse with a RuntimeError a torch that cannot trace a differentiation inside a compiled graph."""
    if not hasattr(torch._dynamo.config, "trace_autograd_ops"):
        raise RuntimeError(
            f"compiled updates need a torch that traces torch.autograd.grad; {torch.__version__} does "
            'not. Install a newer one (2.15 does), or set "compile": false'
        )


def adam(
    group: dict[str, Any],
    learning_rate: Tensor,
    state: dict,
    parameters: list[Tensor],
    gradients: list[Tensor],
) -> None:
    """One Adam step in place: the formulas of `torch.optim.Adam`, written for the compiler to take whole.

    The group gives ``betas`` and ``eps``; the step size is 0-d; each parameter has its optimiser's state.
    """
    beta1, beta2 = group["betas"]
    states = [state[parameter] for parameter in parameters]
    torch._foreach_add_([s["step"] for s in states], 1)
    step = states[0]["step"]
    # On the CPU the compiler computes a reused number again for every few weights, which took as long as all
    # matrix products, unless there is an exponential in it.
    step_size = learning_rate / (1 - torch.exp(step * math.log(beta1)))
    root_correction = (1 - torch.exp(step * math.log(beta2))).sqrt()
    for parameter, gradient, s in zip(parameters, gradients, states, strict=True):
        s["exp_avg"].lerp_(gradient, 1 - beta1)
        s["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = s["exp_avg_sq"].sqrt() / root_correction + group["eps"]
        parameter.sub_(step_size * s["exp_avg"] / denominator)


def _materialise_state(optimizer: torch.optim.Optimizer) -> None:
    """Create Adam's state as its first step would, so that the graph finds it in place."""
    for parameter in optimizer.param_groups[0]["params"]:
        state = optimizer.state[parameter]
        if state:
            state["step"] = state["step"].to(parameter.device)
        else:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        for value in state.values():  # CUDA graphs take inputs that change only where they stay
            torch._dynamo.mark_static_address(value)
