"""Replay memories as a config asks for them, one for each mode."""

from typing import Literal

import torch
from pydantic import model_validator

from agents.learners.base import LearnerSettings
from agents.settings import key
from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.ring import DeviceRing, HostRing
from torchrl_gpu.replay.samplers import (
    LegacyPrioritizedSampler,
    LegacyUniformSampler,
    PrioritizedSampler,
    PrioritySettings,
    UniformSampler,
)
from torchrl_gpu.replay.windows import RecordWindows, RobotWindows, StreamWindows

STEPS_AT_ONCE = 64
"""Steps of one environment written to replay together at most; an update writes them all before it draws."""


class ReplaySettings(PrioritySettings):
    """What is kept, where, and how it is drawn."""

    buffer_size: int = key(1_000_000, "transitions the replay memory holds", ge=2, le=10**10)
    batch_size: int = key(64, "transitions of a gradient update", ge=1, le=1_000_000)
    prioritized_replay: bool = key(
        False,
        "draw transitions by their last loss, as Rainbow always does",
        throughput=True,
        only=("prioritized", False),
    )
    replay_device: Literal["auto", "cpu", "cuda"] = key(
        "auto", "where the replay memory is; `auto` is the training device", throughput=True
    )

    @model_validator(mode="after")
    def _larger_than_a_batch(self) -> "ReplaySettings":
        if self.buffer_size <= self.batch_size:
            raise ValueError(
                f"key 'buffer_size': {self.buffer_size} must be above 'batch_size', {self.batch_size}"
            )
        return self


def legacy_replay(
    settings: ReplaySettings, learner: LearnerSettings, prioritized: bool, device: str
) -> Replay:
    """A replay memory that draws what the legacy memory draws."""
    n = learner.return_steps
    records = RecordWindows(n, learner.discount) if prioritized else None
    return Replay(
        HostRing(settings.buffer_size),
        LegacyPrioritizedSampler(settings.buffer_size, n, settings) if records else LegacyUniformSampler(),
        settings.batch_size,
        device=device,
        batch_device=device,
        records=records,
        steps_at_once=STEPS_AT_ONCE,
    )


def device_replay(
    settings: ReplaySettings, learner: LearnerSettings, prioritized: bool, device: str, streams: int = 1
) -> Replay:
    """A replay memory that lets a GPU work; n-step returns follow each robot's own stream.

    ``streams`` is the number of collectors whose steps come in turn.
    """
    n, size = learner.return_steps, settings.buffer_size
    where = device if settings.replay_device == "auto" else settings.replay_device
    on_host = torch.device(where).type == "cpu"
    ring = HostRing(size) if on_host else DeviceRing(size, where, settings.batch_size)
    return Replay(
        ring,
        PrioritizedSampler(size, settings, where) if prioritized else UniformSampler(ring),
        settings.batch_size,
        device=where,
        batch_device=device,
        windows=_windows(n, learner.discount, streams) if n > 1 else None,
    )


def _windows(n: int, discount: float, streams: int) -> RobotWindows | StreamWindows:
    each = [RobotWindows(n, discount) for _ in range(streams)]
    return each[0] if streams == 1 else StreamWindows(each)
