"""Clipped Adam steps (Kingma & Ba 2015) that a compiler, or a CUDA graph, takes whole.

They work in place on the state of a learner's own optimiser. The step size is a tensor, so that it may change
from one replay of a graph to the next.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_of_torch

CLIP_EPS = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""


class Weights(NamedTuple):
    """Parameters with what Adam keeps of each, and their gradients."""

    parameters: list[Tensor]
    steps: list[Tensor]  # made so far, 0-d float32
    means: list[Tensor]  # of the gradient
    squares: list[Tensor]  # mean of the squared gradient
    gradients: list[Tensor]

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer, gradients: tuple[Tensor | None, ...]) -> "Weights":
        """Those of an optimiser that a loss reaches; Adam leaves the others alone."""
        pairs = zip(optimizer.param_groups[0]["params"], gradients, strict=True)
        reached = [(parameter, gradient) for parameter, gradient in pairs if gradient is not None]
        states = [optimizer.state[parameter] for parameter, _ in reached]
        kept = ([state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq"))
        return cls([parameter for parameter, _ in reached], *kept, [gradient for _, gradient in reached])


Step = Callable[[torch.optim.Optimizer, tuple[Tensor | None, ...], Tensor, float, int], None]
"""Step the parameters of an optimiser, whose state is there: gradients, step size 0-d, largest norm.

The last argument is the number of leading axes of every parameter, over which learners lie side by side:
each is clipped to a norm of its own.
"""


@torch.no_grad()
def step_by_formula(
    optimizer: torch.optim.Optimizer,
    gradients: tuple[Tensor | None, ...],
    learning_rate: Tensor,
    max_norm: float,
    lead: int = 0,
) -> None:
    """See `Step`; the formulas of `torch.optim.Adam`, for the compiler to fuse."""
    weights = Weights.of(optimizer, gradients)
    beta1, beta2 = optimizer.param_groups[0]["betas"]
    squares = [gradient.square().sum(_axes(gradient, lead)) for gradient in weights.gradients]
    norm = torch.stack(squares).sum(0).sqrt()
    # On the CPU the compiler computes a reused number again for every few weights, which took as long as all
    # matrix products, unless there is an exponential in it.
    scale = (max_norm / (norm + CLIP_EPS)).log().clamp(max=0.0).exp()
    torch._foreach_add_(weights.steps, 1)
    step = weights.steps[0]
    step_size = learning_rate / (1 - torch.exp(step * math.log(beta1)))
    correction = 1 / (1 - torch.exp(step * math.log(beta2))).sqrt()  # once: divisions take long
    for parameter, _, mean, square, gradient in zip(*weights, strict=True):
        scaled = gradient * _spread(scale, gradient)
        mean.lerp_(scaled, 1 - beta1)
        square.mul_(beta2).addcmul_(scaled, scaled, value=1 - beta2)
        denominator = square.sqrt() * correction + optimizer.param_groups[0]["eps"]
        parameter.sub_(step_size * mean / denominator)


@torch.no_grad()
def step_in_few_kernels(
    optimizer: torch.optim.Optimizer,
    gradients: tuple[Tensor | None, ...],
    learning_rate: Tensor | float,
    max_norm: float,
    lead: int = 0,
) -> None:
    """See `Step`; few kernels, without a compiler."""
    weights, group = Weights.of(optimizer, gradients), optimizer.param_groups[0]
    # Not in place: one gradient may be another's, or belong to the graph that it came from.
    scaled = _clipped(weights.gradients, max_norm, lead)
    adam_of_torch(
        weights.parameters,
        [gradient.contiguous() for gradient in scaled],  # as the weights are, which nobody looks at
        weights.means,
        weights.squares,
        [],
        weights.steps,
        fused=True,
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=learning_rate,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )


def _clipped(gradients: list[Tensor], max_norm: float, lead: int) -> Sequence[Tensor]:
    """Gradients scaled to the largest norm that is allowed."""
    if not lead:
        norm = torch.nn.utils.get_total_norm(gradients)
        return torch._foreach_mul(gradients, (max_norm / (norm + CLIP_EPS)).clamp(max=1.0))
    norms = [torch.linalg.vector_norm(gradient, dim=_axes(gradient, lead)) for gradient in gradients]
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    scale = (max_norm / (norm + CLIP_EPS)).clamp(max=1.0)
    return torch._foreach_mul(gradients, [_spread(scale, gradient) for gradient in gradients])


def _axes(gradient: Tensor, lead: int) -> tuple[int, ...]:
    """The axes of one learner's own weights."""
    return tuple(range(lead, gradient.ndim))


def _spread(scale: Tensor, gradient: Tensor) -> Tensor:
    """A factor for each learner, as it multiplies the gradient; one for all is left as it is."""
    return scale.view(*scale.shape, *[1] * (gradient.ndim - scale.ndim)) if scale.ndim else scale


def materialise_state(optimizer: torch.optim.Optimizer) -> None:
    """Create Adam's state as its first step would, so that a graph finds it in place."""
    for parameter in optimizer.param_groups[0]["params"]:
        state = optimizer.state[parameter]
        if state:
            state["step"] = state["step"].to(parameter.device)
        else:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
