"""Replay on the training device: the transitions of a vector step, storages and samplers.

Nothing is stored here: a `TensorDictReplayBuffer` on `LazyTensorStorage` is put together from TorchRL's parts
and from the samplers that draw what the legacy memories draw.
"""

import random
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import RandomSampler, Sampler
from torchrl.data.replay_buffers.storages import Storage

from marinenav_env.envs.torchrl_gpu.specs import GROUP
from torchrl_gpu.policy_wrapper import OBSERVATION_KEYS


def transitions(step: TensorDictBase, *, bootstrap_on_timeout: bool = False) -> TensorDict:
    """The transitions of the robots that acted in one vector step, float32, in (environment, robot) order.

    A robot's last transition is among them, with its true next observation: it is deactivated afterwards.

    Args:
        step: What ``env.step`` returned, batch ``[E]`` (or ``[E, T]``), root and ``"next"`` entries.
        bootstrap_on_timeout: ``done`` leaves out the cut-off, which the legacy schedule stores as terminal
            (Defect D5).

    Returns:
        Batch ``[N]``: ``self_state`` (N, 7), ``objects_state`` (N, 5, 5), ``objects_mask`` (N, 5), ``action``
        (N, 2) or (N,), ``reward`` (N, 1), ``done`` (N, 1), and the three observations under ``"next"``.
    """
    robots, after = step[GROUP], step["next", GROUP]
    acted = robots["active"].squeeze(-1)
    parts = {key: robots[key] for key in (*OBSERVATION_KEYS, "action")}
    parts["reward"] = after["reward"]
    parts["done"] = after["terminated" if bootstrap_on_timeout else "done"]
    batch = {key: _to_storage(value[acted]) for key, value in parts.items()}
    following = {key: _to_storage(after[key][acted]) for key in OBSERVATION_KEYS}
    n = [len(batch["reward"])]
    return TensorDict({**batch, "next": TensorDict(following, n)}, n)


def _to_storage(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values


class LegacyUniformSampler(Sampler):
    """Draws what the legacy uniform memory draws: ``random.sample`` over the stored items, oldest first.

    Draws come from Python's global generator, without replacement (agents spec 8). They are mapped to slots
    of the ring, so that the same draw means the same transition after the ring has wrapped.
    """

    def __init__(self) -> None:
        self._next_slot = 0

    def extend(self, index: Tensor) -> None:
        """Remember where the ring goes on; called by the buffer with the slots just written."""
        self._next_slot = int(index[-1]) + 1

    add = extend

    def sample(self, storage: Storage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Slots of ``batch_size`` distinct items, (B,) int64, in the order drawn."""
        stored = len(storage)
        oldest = self._next_slot % storage.max_size if stored == storage.max_size else 0
        drawn = random.sample(range(stored), batch_size)
        return torch.tensor(drawn).add_(oldest).remainder_(storage.max_size), {}

    def state_dict(self) -> dict[str, Any]:
        """Position of the ring."""
        return {"next_slot": self._next_slot}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._next_slot = state_dict["next_slot"]

    def _empty(self) -> None:
        self._next_slot = 0

    def dumps(self, path: Any) -> None:
        """Nothing on disk: the state travels in `state_dict`."""

    def loads(self, path: Any) -> None:
        """Nothing on disk: the state travels in `state_dict`."""


def uniform_replay(
    capacity: int, *, legacy_draws: bool, device: torch.device | str
) -> TensorDictReplayBuffer:
    """Uniform replay of the five agents that learn from single steps.

    Args:
        capacity: Transitions kept.
        legacy_draws: Sample as the legacy memory does; else with TorchRL's `RandomSampler`.
        device: Device of the storage.
    """
    return TensorDictReplayBuffer(
        storage=LazyTensorStorage(capacity, device=device),
        sampler=LegacyUniformSampler() if legacy_draws else RandomSampler(),
    )


class Replay:
    """What the trainer needs of a replay buffer: store vector steps, draw batches, take losses back.

    Args:
        buffer: Storage, sampler and writer.
        batch_size: Transitions of one batch.
        bootstrap_on_timeout: See `transitions`.
    """

    def __init__(
        self, buffer: TensorDictReplayBuffer, batch_size: int, *, bootstrap_on_timeout: bool = False
    ) -> None:
        self.buffer = buffer
        self.batch_size = batch_size
        self.bootstrap_on_timeout = bootstrap_on_timeout

    @property
    def stored(self) -> int:
        """Transitions stored."""
        return len(self.buffer)

    def store(self, step: TensorDictBase) -> None:
        """Add the transitions of one vector step."""
        self.buffer.extend(transitions(step, bootstrap_on_timeout=self.bootstrap_on_timeout))

    def sample(self, updates: int) -> list[TensorDictBase]:
        """One batch ``[batch_size]`` for each of several updates."""
        return [self.buffer.sample(self.batch_size) for _ in range(updates)]

    def feed_back(self, batch: TensorDictBase, losses: TensorDictBase) -> None:
        """Take the losses of an update on ``batch``; uniform replay has no use for them."""
