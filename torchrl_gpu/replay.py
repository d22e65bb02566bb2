"""Replay on the training device: the transitions of a vector step, storages and samplers.

Nothing is stored here: a `TensorDictReplayBuffer` on `LazyTensorStorage` is put together from TorchRL's parts
and from the samplers that draw what the legacy memories draw.
"""

from collections.abc import Iterable
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import PrioritizedSampler, RandomSampler, Sampler
from torchrl.data.replay_buffers.writers import Writer
from torchrl.envs.transforms import MultiStepTransform

from marinenav_env.envs.torchrl_gpu.specs import GROUP
from torchrl_gpu.device_ring import KEEP, DeviceRing, DeviceRingSampler, DeviceRingWriter
from torchrl_gpu.observation_scale import ObservationScale
from torchrl_gpu.policy_wrapper import OBSERVATION_KEYS


def robot_rows(
    *steps: TensorDictBase, scale: ObservationScale | None = None, chosen: Tensor | None = None
) -> TensorDict:
    """One row for every robot of vector steps, float32, in (step, environment, robot) order.

    Args:
        *steps: What ``env.step`` returned, batch ``[E]``, root and ``"next"`` entries.
        scale: Scales the observations, if given.
        chosen: Rows wanted, int64 (N,); all without it.

    Returns:
        Batch ``[N]``: ``self_state`` (7,), ``objects_state`` (5, 5), ``objects_mask`` (5,), ``action`` (2,)
        or (), ``acted`` (); under ``"next"`` the observation, and ``reward``, ``done``, ``terminated`` (1,).
    """
    robots = [step[GROUP] for step in steps]
    after = [step["next", GROUP] for step in steps]

    def row(key: str, where: list[TensorDictBase]) -> Tensor:
        values = torch.cat([robot.get(key) for robot in where]).flatten(0, 1)
        values = values if chosen is None else values.index_select(0, chosen)
        values = values.float() if values.is_floating_point() else values
        return scale(key, values) if scale else values

    rows = {key: row(key, robots) for key in (*OBSERVATION_KEYS, "action")}
    rows["acted"] = row("active", robots).squeeze(-1)
    following = {key: row(key, after) for key in (*OBSERVATION_KEYS, "reward", "done", "terminated")}
    size = rows["acted"].shape
    return TensorDict({**rows, "next": TensorDict(following, size)}, size)


def transitions(
    *steps: TensorDictBase, scale: ObservationScale | None = None, done: str = "done"
) -> TensorDict:
    """The transitions of the robots that acted in vector steps, in the layout of the updates.

    A robot's last transition is among them, with its true next observation: it is deactivated afterwards.

    Args:
        *steps: As of `robot_rows`.
        scale: As of `robot_rows`.
        done: Which flag ends the return: ``"done"``, or ``"terminated"`` to bootstrap where the cut-off came.

    Returns:
        Batch ``[N]``: ``self_state`` (N, 7), ``objects_state`` (N, 5, 5), ``objects_mask`` (N, 5), ``action``
        (N, 2) or (N,), ``reward`` (N, 1), ``done`` (N, 1), and the three observations under ``"next"``.
    """
    acted = torch.cat([step.get((GROUP, "active")) for step in steps]).flatten()
    chosen = None if acted.all() else acted.nonzero()[:, 0]
    return update_layout(robot_rows(*steps, scale=scale, chosen=chosen), done)


def update_layout(rows: TensorDictBase, done: str) -> TensorDict:
    """Rows with reward and end flag beside the action, where the updates look for them; see `transitions`."""
    after = rows["next"]
    batch = rows.select(*OBSERVATION_KEYS, "action")
    batch["reward"], batch["done"] = after["reward"], after[done]
    batch["next"] = after.select(*OBSERVATION_KEYS)
    return batch


class Replay:
    """What the trainer needs of a replay buffer: store vector steps, draw batches, take losses back.

    Args:
        capacity: Transitions kept.
        batch_size: Transitions of one batch.
        sampler: Draws slots; default: TorchRL's uniform one.
        writer: Chooses slots to write; default: TorchRL's round robin.
        device: Where the storage lives.
        bootstrap_on_timeout: Do not take the cut-off for a terminal, as the legacy schedule does (Defect D5).
        scale: Scales what is stored, if given.
        steps_at_once: Vector steps that may wait to be written together, before anything is drawn; writing
            few rows costs almost as much as writing many.
    """

    def __init__(
        self,
        capacity: int,
        batch_size: int,
        *,
        sampler: Sampler | None = None,
        writer: Writer | None = None,
        device: torch.device | str = "cpu",
        bootstrap_on_timeout: bool = False,
        scale: ObservationScale | None = None,
        steps_at_once: int = 1,
    ) -> None:
        self._buffer = TensorDictReplayBuffer(
            storage=LazyTensorStorage(capacity, device=device),
            sampler=sampler or RandomSampler(),
            writer=writer,
        )
        self.batch_size = batch_size
        self.done_flag = "terminated" if bootstrap_on_timeout else "done"
        self.scale = scale
        self.steps_at_once = steps_at_once
        self._waiting: list[TensorDictBase] = []

    @property
    def buffer(self) -> TensorDictReplayBuffer:
        """The buffer, with everything stored so far written."""
        if self._waiting:
            steps, self._waiting = self._waiting, []
            self._extend(transitions(*steps, scale=self.scale, done=self.done_flag))
        return self._buffer

    @property
    def stored(self) -> int:
        """Transitions stored."""
        return len(self.buffer)

    def store(self, step: TensorDictBase) -> None:
        """Add the transitions of one vector step."""
        self._waiting.append(step)
        if len(self._waiting) >= self.steps_at_once:
            _ = self.buffer

    def _extend(self, batch: TensorDictBase) -> None:
        if len(batch):
            for part in batch.split(self._buffer.storage.max_size):  # no slot twice in one write
                self._buffer.extend(part)

    def sample(self, updates: int) -> Iterable[TensorDictBase]:
        """One batch ``[batch_size]`` for each of several updates, drawn together."""
        return self.buffer.sample(updates * self.batch_size).split(self.batch_size)

    def feed_back(self, batch: TensorDictBase, losses: TensorDictBase) -> None:
        """Take the losses of an update on ``batch``; uniform replay has no use for them."""


class DeviceReplay(Replay):
    """Uniform replay that stores and draws without the host learning how many robots acted; for GPUs.

    Args:
        capacity: Transitions kept.
        batch_size: Transitions of one batch.
        device: Where the storage lives.
        **options: As of `Replay`.
    """

    def __init__(self, capacity: int, batch_size: int, *, device: torch.device | str, **options: Any) -> None:
        self.ring = DeviceRing(capacity, device)
        super().__init__(
            capacity + 1,
            batch_size,
            sampler=DeviceRingSampler(self.ring),
            writer=DeviceRingWriter(self.ring),
            device=device,
            **options,
        )
        self._at_least = 0

    @property
    def stored(self) -> int:
        """Transitions stored; once that is more than a batch, as many as there were then."""
        if self._at_least <= self.batch_size:
            self._at_least = int(self.ring.stored)
        return self._at_least

    def store(self, step: TensorDictBase) -> None:
        """Add the transitions of one vector step."""
        rows = robot_rows(step, scale=self.scale)
        batch = update_layout(rows, self.done_flag)
        batch[KEEP] = rows["acted"]
        self.buffer.extend(batch)


class RainbowReplay(Replay):
    """What Rainbow's two replays share: prioritised draws, and losses that become priorities.

    Args:
        capacity: Transitions kept.
        batch_size: Transitions of one batch.
        sampler: Draws slots with their importance weights.
        n: Steps of the return.
        discount: Factor between its rewards.
        **options: As of `Replay`.
    """

    def __init__(
        self, capacity: int, batch_size: int, *, sampler: Sampler, n: int, discount: float, **options: Any
    ) -> None:
        super().__init__(capacity, batch_size, sampler=sampler, **options)
        self.n = n
        self.discount = discount

    def feed_back(self, batch: TensorDictBase, losses: TensorDictBase) -> None:
        """Update the priorities of the batch with its losses."""
        self.buffer.update_priority(batch["index"], losses["network"])


class PrioritizedReplay(RainbowReplay):
    """Rainbow's replay: n-step returns along each robot's own stream.

    A window ends at the robot's terminal and at the cut-off; its transition is stored once n steps have
    passed. Several batches drawn together share the priorities of that moment. Arguments are those of
    `RainbowReplay`; the sampler is that of `prioritized_sampler`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.multi_step = MultiStepTransform(self.n, self.discount, done_keys=["done"])

    def store(self, step: TensorDictBase) -> None:
        """Add the transitions of the vector step n steps ago, whose windows are complete now."""
        rows = robot_rows(step, scale=self.scale)
        # The transform leaves the flags where they were and moves everything else to the end of the window.
        rows["next", "ended"] = rows["next", self.done_flag]
        complete = self.multi_step.inv(rows.unsqueeze(1))
        if complete is not None:
            rows = complete.squeeze(1)
            self._extend(update_layout(rows[rows["acted"]], done="ended"))


def prioritized_sampler(capacity: int, exponent: float, weight: float) -> PrioritizedSampler:
    """TorchRL's sampler of Schaul et al. (2016).

    Args:
        capacity: Slots.
        exponent: Power of the loss that becomes the priority.
        weight: Power of the importance weights.

    Raises:
        RuntimeError: TorchRL's compiled extension does not load.
    """
    try:
        return PrioritizedSampler(capacity, alpha=exponent, beta=weight)
    except RuntimeError as error:
        raise RuntimeError(
            f"prioritised replay needs TorchRL's compiled extension, which does not load ({error}); install "
            "the torchrl release built for this torch: pip install --upgrade torch torchrl"
        ) from None


class InterleavedRainbowReplay(RainbowReplay):
    """Rainbow's replay in reproduction mode: one stream of all robots (Quirk Q3; agents spec 9).

    Arguments are those of `RainbowReplay`; the sampler is a `LegacyPrioritizedSampler`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scaling = torch.tensor([self.discount**k for k in range(self.n)])

    @property
    def stored(self) -> int:
        """Records as the legacy trainer counts them: one too many before the ring is full (Quirk Q4)."""
        return min(len(self.buffer) + 1, self.buffer.storage.max_size)

    def sample(self, updates: int) -> Iterable[TensorDictBase]:
        """Batches drawn one at a time, each after the priorities of the one before were updated."""
        for _ in range(updates):
            yield self._n_step(self.buffer.sample(self.batch_size))

    def _n_step(self, window: TensorDictBase) -> TensorDict:
        """Windows of n + 1 records, ``[B, n + 1]``, to n-step transitions ``[B]``.

        What follows a terminal record, of whichever robot, is blank: all zeros, and terminal.
        """
        ended = window["done"].squeeze(-1).cumsum(1) > 0  # (B, n + 1)
        blank = torch.cat((torch.zeros_like(ended[:, :1]), ended[:, :-1]), dim=1)
        rewards = window["reward"].squeeze(-1).masked_fill(blank, 0.0)
        first, last = window[:, 0], window[:, self.n]
        states = {key: first[key] for key in (*OBSERVATION_KEYS, "action")}
        last_blank = blank[:, self.n]
        following = {key: _masked(last[key], last_blank) for key in OBSERVATION_KEYS}
        size = first.batch_size
        return TensorDict(
            {
                **states,
                "reward": (rewards[:, : self.n].contiguous() @ self.scaling).unsqueeze(-1),
                # Quirk Q6b: the flag of the record bootstrapped from, not of the last rewarded one.
                "done": last["done"] | last_blank.unsqueeze(-1),
                "priority_weight": first["priority_weight"],
                "index": first["index"],
                "next": TensorDict(following, size),
            },
            size,
        )


def _masked(values: Tensor, blank: Tensor) -> Tensor:
    return values.masked_fill(blank.view(-1, *[1] * (values.ndim - 1)), 0)
