"""Replay on the training device: the transitions of a vector step, storages and samplers.

Nothing is stored here: a `TensorDictReplayBuffer` on a `LazyTensorStorage` is put together from TorchRL's
parts and from the samplers that draw what the legacy memories draw. Its one entry holds the transitions, as
the rows of `torchrl_gpu.replay.rows`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import PrioritizedSampler, RandomSampler, Sampler
from torchrl.data.replay_buffers.writers import Writer

from torchrl_gpu.replay.ring import KEEP, DeviceRing, DeviceRingSampler, DeviceRingWriter
from torchrl_gpu.replay.rows import OBSERVATION_SIZE, Draw
from torchrl_gpu.replay.storage import ROW, RowStorage, RowWriter
from torchrl_gpu.replay.windows import RobotWindows

REWARD = OBSERVATION_SIZE + 1
"""Column of the reward in rows of discrete actions; the end flag follows."""


class Replay:
    """What the trainer needs of a replay buffer: store vector steps, draw batches, take losses back.

    Args:
        capacity: Transitions kept.
        batch_size: Transitions of one batch.
        sampler: Draws slots; default: TorchRL's uniform one.
        writer: Chooses slots to write; default: TorchRL's round robin.
        device: Where the storage lives.
        batch_device: Where batches go; default: they stay there.
        steps_at_once: Vector steps that may wait to be written together, before anything is drawn; writing
            few rows costs almost as much as writing many.
        windows: Makes n-step transitions of the steps; default: they are stored as they come.
    """

    def __init__(
        self,
        capacity: int,
        batch_size: int,
        *,
        sampler: Sampler | None = None,
        writer: Writer | None = None,
        device: torch.device | str = "cpu",
        batch_device: torch.device | str | None = None,
        steps_at_once: int = 1,
        windows: RobotWindows | None = None,
    ) -> None:
        self._buffer = TensorDictReplayBuffer(
            storage=RowStorage(capacity, device=device),
            sampler=sampler or RandomSampler(),
            writer=writer or RowWriter(),
        )
        self.batch_size = batch_size
        self.batch_device = device if batch_device is None else batch_device
        self.steps_at_once = steps_at_once
        self.windows = windows
        self._waiting: list[tuple[Tensor, Tensor]] = []  # rows, and which of them to keep

    @property
    def buffer(self) -> TensorDictReplayBuffer:
        """The buffer, with everything stored so far written."""
        self._write_waiting()
        return self._buffer

    @property
    def stored(self) -> int:
        """Transitions stored."""
        return len(self.buffer)

    def store(self, rows: Tensor, acted: Tensor, ended: Tensor) -> None:
        """Add the transitions of one vector step: its rows, who acted, whose stream ended; see `Step`."""
        if (complete := self._complete(rows, acted, ended)) is not None:
            self._waiting.append(complete)
            if len(self._waiting) >= self.steps_at_once:
                self._write_waiting()

    def _complete(self, rows: Tensor, acted: Tensor, ended: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rows that a step completes, and which of them are transitions; None without any."""
        return self.windows(rows, acted, ended) if self.windows else (rows, acted)

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        rows, acted = map(torch.cat, zip(*self._waiting, strict=True))
        self._waiting = []
        if not acted.all():
            rows = rows.index_select(0, acted.nonzero()[:, 0])
        storage = self._buffer.storage
        for part in rows.to(storage.device).split(storage.max_size):  # no slot twice in one write
            if len(part):
                self._buffer.extend(TensorDict({ROW: part}, [len(part)]))

    def sample(self, updates: int) -> Iterable[Draw]:
        """One batch of `batch_size` for each of several updates, drawn together."""
        rows = self.buffer.sample(updates * self.batch_size).get(ROW).to(self.batch_device)
        return map(Draw, rows.split(self.batch_size))

    def feed_back(self, batch: Draw, losses: TensorDictBase) -> None:
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

    def store(self, rows: Tensor, acted: Tensor, ended: Tensor) -> None:
        """Add the transitions of one vector step."""
        if (complete := self._complete(rows, acted, ended)) is None:
            return
        # As many at a time as there are slots: none is written twice at once.
        parts = (each.to(self.ring.cursor.device).split(self.ring.capacity) for each in complete)
        for some, kept in zip(*parts, strict=True):
            self.buffer.extend(TensorDict({ROW: some, KEEP: kept}, [len(some)]))


class LossReplay(Replay):
    """What the two prioritised replays share: losses become priorities before more is stored or drawn.

    Arguments are those of `Replay`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._losses: list[tuple[Tensor, Tensor]] = []  # slots and losses of batches

    def feed_back(self, batch: Draw, losses: TensorDictBase) -> None:
        """Take the losses of the samples of a batch, the mean over SAC's critics, as their priorities."""
        of_samples = [loss for loss in losses.values() if loss.ndim == 1]
        self._losses.append((batch.index, torch.stack(of_samples).mean(0)))

    def _write_waiting(self) -> None:
        if self._losses:  # together: for the trees the host waits for a GPU
            index, loss = map(torch.cat, zip(*self._losses, strict=True))
            self._losses = []
            self._buffer.update_priority(index, loss)
        super()._write_waiting()


class PrioritizedReplay(LossReplay):
    """Prioritised replay of Schaul et al. (2016).

    Several batches drawn together share the priorities of that moment. Arguments are those of `Replay`; the
    sampler is that of `prioritized_sampler`.
    """

    def sample(self, updates: int) -> Iterable[Draw]:
        """See `Replay.sample`."""
        drawn = self.buffer.sample(updates * self.batch_size)
        rows, weight = (drawn.get(key).to(self.batch_device) for key in (ROW, "priority_weight"))
        parts = (each.split(self.batch_size) for each in (rows, drawn.get("index"), weight))
        return map(Draw, *parts)


def prioritized_sampler(capacity: int, exponent: float, weight: float) -> PrioritizedSampler:
    """TorchRL's sampler of Schaul et al. (2016).

    Its trees stay on the CPU, as the released TorchRL has none for a GPU.

    Args:
        capacity: Slots.
        exponent: Power of the loss that becomes the priority.
        weight: Power of the importance weights.

    Raises:
        RuntimeError: TorchRL's compiled extension does not load.
    """
    try:
        return PrioritizedSampler(capacity, alpha=exponent, beta=weight, device="cpu")
    except RuntimeError as error:
        raise RuntimeError(
            f"prioritised replay needs TorchRL's compiled extension, which does not load ({error}); install "
            "the torchrl release built for this torch: pip install --upgrade torch torchrl"
        ) from None


class InterleavedRainbowReplay(LossReplay):
    """Rainbow's replay in reproduction mode: one stream of all robots (Quirk A3; agents spec 9).

    Args:
        n: Steps of the return.
        discount: Factor between its rewards.
        **options: As of `Replay`; the sampler is a `LegacyPrioritizedSampler`.
    """

    def __init__(self, *args: Any, n: int, discount: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.n = n
        factors = [discount**k for k in range(n)]
        self.scaling = torch.tensor(factors, device=self._buffer.storage.device)

    @property
    def stored(self) -> int:
        """Records as the legacy trainer counts them: one too many before the ring is full (Quirk A4)."""
        return min(len(self.buffer) + 1, self.buffer.storage.max_size)

    def sample(self, updates: int) -> Iterable[Draw]:
        """Batches drawn one at a time, each after the priorities of the one before were updated."""
        for _ in range(updates):
            drawn = self.buffer.sample(self.batch_size)
            windows, index, weight = (drawn[key] for key in (ROW, "index", "priority_weight"))
            yield Draw(self._n_step(windows), index[:, 0], weight[:, 0].to(windows.device))

    def _n_step(self, windows: Tensor) -> Tensor:
        """Windows of n + 1 records, (B, n + 1, 77), to n-step transitions (B, 77).

        What follows a terminal record, of whichever robot, is blank: all zeros, and terminal.
        """
        reward, done = REWARD, REWARD + 1
        ended = windows[:, :, done].cumsum(1) > 0  # (B, n + 1)
        blank = torch.cat((torch.zeros_like(ended[:, :1]), ended[:, :-1]), dim=1)
        rewards = windows[:, : self.n, reward].masked_fill(blank[:, : self.n], 0.0)
        first, last, last_blank = windows[:, 0], windows[:, self.n], blank[:, self.n :]
        return torch.cat(
            (
                first[:, :reward],
                (rewards @ self.scaling).unsqueeze(1),
                # Quirk A6b: the flag of the record bootstrapped from, not of the last rewarded one.
                last[:, done : done + 1].masked_fill(last_blank, 1.0),
                last[:, :OBSERVATION_SIZE].masked_fill(last_blank, 0.0),
            ),
            dim=1,
        )
