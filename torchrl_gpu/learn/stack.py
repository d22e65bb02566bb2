"""Learners of several seeds updated as one: every weight has an axis more, that of the learners.

What a small network leaves of a machine idle, the launches of a GPU and the calls of a CPU, N learners fill.
Each loses and steps what it would alone, up to rounding: `torch.func` maps the losses of one learner over the
weights, batches and noise of all, as batched matrix products (Horace He & Richard Zou 2021, "functorch").
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from agents.batch import Batch
from agents.learners.base import Learner
from agents.learners.descent import Descent, Gradients, Noise, Stage
from torchrl_gpu.learn.adam import materialise_state, step_in_few_kernels
from torchrl_gpu.learn.update import Drawn

Loss = Callable[[Batch, Noise], dict[str, Tensor]]
Turn = Callable[[], AbstractContextManager]


class Stack(Descent):
    """N learners of one type with the same keys, that have made as many updates.

    Batches and losses have an axis before all others, that of the learners. Weights, buffers and Adam's
    moments of all of them lie in one tensor each, and each learner's own become views into it: it acts,
    copies its target, is averaged, saved and evaluated as if it were alone. A learner that loads a state
    afterwards must be stacked anew.

    Args:
        learners: the learners.
        turns: contexts in which each draws its noise; None if they draw one after the other.

    Raises:
        ValueError: they have not made as many updates.
    """

    lead = 1

    def __init__(self, learners: Sequence[Learner], turns: Sequence[Turn] | None = None) -> None:
        first = learners[0]
        if len({learner.updates for learner in learners}) > 1:
            raise ValueError(f"updates made are {[learner.updates for learner in learners]}, must be equal")
        self.learners = learners
        self.turns = turns or [nullcontext] * len(learners)
        self.settings, self.device, self.updates = first.settings, first.device, first.updates
        self.continuous, self.prioritized = first.continuous, first.prioritized
        self.stay_on_device()
        modules = list(map(_Networks, learners))
        self._networks = modules[0]
        self._tensors = {
            name: _stacked([each.get(name) for each in modules]).requires_grad_(learns)
            for name, learns in self._networks.names().items()
        }
        self.optimizers = {name: self._optimizer(name) for name in first.optimizers}
        self._stages = tuple(stage._replace(loss=self._of_all(stage.loss)) for stage in first.stages())

    @property
    def learning_rate(self) -> float:
        """Adam's step size, the same for all."""
        return self.learners[0].learning_rate

    def stay_on_device(self) -> None:
        """See `Learner.stay_on_device`."""
        self.drop_empty_objects = False
        for learner in self.learners:
            learner.stay_on_device()

    def draw_noise(self, batch_size: int) -> Noise:
        """The noise of all, each drawn in its turn."""
        drawn = []
        for learner, turn in zip(self.learners, self.turns, strict=True):
            with turn():
                drawn.append(learner.draw_noise(batch_size))
        return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}

    def stages(self) -> tuple[Stage, ...]:
        """Those of a learner, for all at once."""
        return self._stages

    def next_stages(self) -> tuple[Stage, ...]:
        """See `Descent.next_stages`."""
        stages = super().next_stages()
        for learner in self.learners:
            learner.updates = self.updates
        return stages

    def objective(self, loss: Tensor, batch: Batch) -> Tensor:
        """What each learner minimises, (N,), see `Descent.objective`."""
        if loss.ndim == 1:
            return loss
        return loss.mean(1) if batch.weight is None else (batch.weight * loss).mean(1)

    def step(self, name: str, gradients: Gradients) -> None:
        """See `Descent.step`; each learner's gradients are clipped to their own norm."""
        limit = self.settings.max_grad_norm
        step_in_few_kernels(self.optimizers[name], gradients, self.learning_rate, limit, self.lead)

    def _of_all(self, loss: Loss) -> Loss:
        """A loss of the first learner as that of each, with its own weights, batch and noise."""

        def of_one(tensors: dict[str, Tensor], batch: Batch, noise: Noise) -> dict[str, Tensor]:
            given = (loss, batch, noise)
            return torch.func.functional_call(self._networks, tensors, given, tie_weights=False)

        def of_all(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            axes = tree_map(lambda part: 0 if isinstance(part, Tensor) else None, batch)
            return torch.vmap(of_one, in_dims=(0, axes, 0))(self._tensors, batch, noise)

        return of_all

    def _optimizer(self, name: str) -> torch.optim.Adam:
        """An optimiser of the stacked weights of a network, that shares its state with those of each."""
        own = [learner.optimizers[name] for learner in self.learners]
        for optimizer in own:
            materialise_state(optimizer)
        weights = [self._tensors[key] for key in self._networks.names_in("local", name)]
        stacked = torch.optim.Adam([own[0].param_groups[0] | {"params": weights}])
        for k, weight in enumerate(weights):
            states = [each.state[each.param_groups[0]["params"][k]] for each in own]
            moments = {key: _stacked([state[key] for state in states]) for key in ("exp_avg", "exp_avg_sq")}
            stacked.state[weight] = {"step": states[0]["step"], **moments}
            for state in states:
                state["step"] = states[0]["step"]
        return stacked


class _Networks(nn.Module):
    """The networks of a learner as one module, whose call is a loss of the learner."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.local = nn.ModuleDict(learner.networks(learner.policy_local))
        self.target = nn.ModuleDict(learner.networks(learner.policy_target))

    def forward(self, loss: Loss, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """What the loss gives with the weights that are substituted now."""
        return loss(batch, noise)

    def get(self, name: str) -> Tensor:
        """A parameter or buffer."""
        owner, _, leaf = name.rpartition(".")
        return getattr(self.get_submodule(owner), leaf)

    def names(self) -> dict[str, bool]:
        """Names of all parameters and buffers, and whether they learn."""
        learning = {name: name.startswith("local.") for name, _ in self.named_parameters()}
        return learning | {name: False for name, _ in self.named_buffers()}

    def names_in(self, policy: str, network: str) -> list[str]:
        """Names of the parameters of a network, in order."""
        prefix = f"{policy}.{network}"
        return [name for name, _ in self.get_submodule(prefix).named_parameters(prefix)]


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape in one; each becomes a view into it."""
    stacked = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, view in zip(tensors, stacked.unbind(), strict=True):
        tensor.data = view
    return stacked


def stacked(draws: Sequence[Drawn]) -> Drawn:
    """Draws of several learners as one of their stack; slots of their memories are left out."""
    rows, _, weights = zip(*draws, strict=True)
    return torch.stack(rows), None, None if weights[0] is None else torch.stack(weights)


def of_each(losses: dict[str, Tensor], number: int) -> list[dict[str, Any]]:
    """What an update of a stack has told, for each of its learners."""
    return [{name: loss[k] for name, loss in losses.items()} for k in range(number)]
