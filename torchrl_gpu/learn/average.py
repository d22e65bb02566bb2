"""The policy that is evaluated and saved: an average of the weights over the last updates.

A learner's success swings from one evaluation to the next while its critic moves. The exponential average of
its weights (Polyak & Juditsky 1992) follows more slowly and acts better than most of them; learning goes on
from the latest weights as if there were no average.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from agents.learners.base import Learner
from agents.settings import Section, key
from torchrl_gpu.learn.borrowed_weights import borrowed


class AverageSettings(Section):
    """Whether the weights are averaged."""

    average_tau: float = key(
        1.0,
        "share of the latest weights, at each update, in the average that is evaluated and saved; 1: none",
        throughput=True,
        gt=0,
        le=1,
    )


class AveragedWeights:
    """Exponential average of a learner's local networks, with ``average_tau`` below 1.

    Half of the average is from the last ``0.7 / average_tau`` updates. The state of ``model`` goes into
    checkpoints.
    """

    def __init__(self, learner: Learner, settings: AverageSettings) -> None:
        self._latest = nn.ModuleDict(learner.networks(learner.policy_local))
        self._take_in = get_ema_multi_avg_fn(1 - settings.average_tau)
        self.model = AveragedModel(self._latest, multi_avg_fn=self._take_in)
        # Once and for all: to look for them in the modules takes longer than to average them.
        self._weights = list(self._latest.parameters())
        self._averages = list(self.model.module.parameters())

    def update(self) -> None:
        """Take the latest weights in; the first ones are the average."""
        if self.model.n_averaged == 0:
            self.model.update_parameters(self._latest)
            return
        # Not through the model again: it would send its count, which this average ignores, from the host to
        # the device, and wait for it, at every update.
        self._take_in(self._averages, self._weights, None)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the local networks have the averaged weights; afterwards their own again."""
        if self.model.n_averaged == 0:
            yield
            return
        with borrowed(self._weights):
            torch._foreach_copy_(self._weights, self._averages)
            yield
