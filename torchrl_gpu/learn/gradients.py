"""Gradients of several ranks as one: what makes N batches of B transitions one batch of N B.

Wrapping networks in `DistributedDataParallel` would do nothing, as an update differentiates bare networks by
`torch.autograd.grad`: its hooks wait for `backward`.
"""

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as collectives  # those that a compiler can trace

from agents.learners.descent import Gradients


def averaged(gradients: Gradients) -> Gradients:
    """The mean over all ranks, which every rank gets to the last bit; `None` stays.

    They travel as one buffer: a message takes as long as it has to wait, whatever its size here. The same
    gradients must be `None` on every rank.
    """
    present = [gradient for gradient in gradients if gradient is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in present])
    total = collectives.wait_tensor(collectives.all_reduce(flat, "sum", dist.group.WORLD))
    parts = (total / dist.get_world_size()).split([gradient.numel() for gradient in present])
    means = iter(part.view_as(gradient) for part, gradient in zip(parts, present, strict=True))
    return tuple(gradient if gradient is None else next(means) for gradient in gradients)
