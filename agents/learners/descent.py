"""The update skeleton: losses descended stage by stage, of one learner or of several at once."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from agents.batch import Batch

Noise = dict[str, Tensor]
Gradients = tuple[Tensor | None, ...]


class Stage(NamedTuple):
    """One step of an update.

    Attributes:
        loss: gives a loss for every network that the stage trains, see `Descent.descend`.
        every: the stage has its turn in every so many updates, the first time in the last of them.
    """

    loss: Callable[[Batch, Noise], dict[str, Tensor]]
    every: int = 1


class Descent:
    """What can be updated: it has losses, the noise that they need, and an optimiser for each network.

    Attributes:
        settings: keys, of which ``max_grad_norm`` is needed here.
        device: where batches are expected.
        learning_rate: Adam's step size, the same for all networks.
        optimizers: one Adam for each network, by its name.
        updates: updates made.
        combine: what becomes of the gradients of a network before it is stepped; several processes that learn
            together average theirs here.
        drop_empty_objects: `True` looks whether any state of a batch has an object and, if none has, leaves
            the object encoder out of the gradient (Quirk A15). It costs one host synchronisation a batch;
            `False` changes only what Adam does to that encoder in such batches.
    """

    lead: ClassVar[int] = 0  # leading axes of every parameter, over which learners lie side by side
    continuous: bool
    prioritized: bool = False
    drop_empty_objects: bool = True
    combine: Callable[[Gradients], Gradients] = staticmethod(lambda gradients: gradients)

    settings: Any
    device: str | torch.device
    learning_rate: float
    optimizers: dict[str, torch.optim.Optimizer]
    updates: int

    def draw_noise(self, batch_size: int) -> Noise:
        """All random numbers of one update, in the legacy order, so that the stages are deterministic."""
        return {}

    def stages(self) -> tuple[Stage, ...]:
        """Losses in the order of their optimiser steps; see `update`."""
        raise NotImplementedError

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient update of the networks whose turn it is (agents spec 6).

        Returns:
            Detached losses, one a network: 0-d, or (N,) where the loss is one of samples and the learner or
            the batch is prioritised.
        """
        if self.drop_empty_objects:
            batch = batch.without_empty_objects()
        return self.descend(self.next_stages(), batch, self.draw_noise(batch.reward.shape[-2]), self.step)

    def next_stages(self) -> tuple[Stage, ...]:
        """The stages whose turn it is in the update that begins with this call."""
        self.updates += 1
        return tuple(stage for stage in self.stages() if self.updates % stage.every == 0)

    def descend(
        self, stages: Sequence[Stage], batch: Batch, noise: Noise, step: Callable[[str, Gradients], None]
    ) -> dict[str, Tensor]:
        """Descend the losses of stages, one after the other; this is the part that can be compiled.

        Each stage returns a loss for every network it trains: 0-d, or one of each sample, (N,). Only that
        network's parameters are differentiated (the legacy code also filled the critic's gradients in the
        actor step, and dropped them) and stepped, before the next stage looks at them.

        Args:
            stages: of `next_stages`.
            batch: the batch.
            noise: of `draw_noise`.
            step: steps the optimiser of a network; a parameter that the loss does not reach has the gradient
                `None`.
        """
        losses = {}
        for stage in stages:
            for name, loss in stage.loss(batch, noise).items():
                objective = self.objective(loss, batch)
                ones = torch.ones_like(objective)  # of several learners each has an objective of its own
                gradients = torch.autograd.grad(objective, self.parameters(name), ones, allow_unused=True)
                step(name, self.combine(gradients))
                losses[name] = self.told(loss, objective, batch)
        return losses

    def parameters(self, name: str) -> list[Tensor]:
        """Parameters of a local network, in the order of its optimiser."""
        return self.optimizers[name].param_groups[0]["params"]

    def step(self, name: str, gradients: Gradients) -> None:
        """Clip the gradients of a network and step its optimiser; Adam skips where there is none."""
        parameters = self.parameters(name)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        self.optimizers[name].step()

    def objective(self, loss: Tensor, batch: Batch) -> Tensor:
        """The scalar to minimise: what a stage returned, or the mean of its sample losses (N,), weighted."""
        weight = batch.weight
        if loss.ndim == 0:
            return loss
        return loss.mean() if weight is None else (weight * loss).mean()

    def told(self, loss: Tensor, objective: Tensor, batch: Batch) -> Tensor:
        """What the caller learns of a loss: that of every sample if it may become a priority, else one."""
        prioritized = self.prioritized or batch.weight is not None
        return (loss if prioritized else objective).detach()
