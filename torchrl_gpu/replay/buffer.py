"""Replay on the training device: a `TensorDictReplayBuffer` of rows, with a ring and a sampler of choice."""

from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import TensorDictReplayBuffer
from torchrl.data.replay_buffers.storages import Storage

from torchrl_gpu.replay.ring import ROW, Ring
from torchrl_gpu.replay.rows import Draw, RobotRows
from torchrl_gpu.replay.samplers import RowSampler
from torchrl_gpu.replay.windows import RecordWindows, RobotWindows, StreamWindows, Windows


class RowStorage(Storage):
    """A TorchRL storage of one matrix of rows, (slots, columns); it has memory from the first write on.

    TorchRL's own walks through nested entries of any kind, for which small batches take twice the time.
    """

    def __init__(self, slots: int, device: torch.device | str) -> None:
        super().__init__(slots)
        self.device = torch.device(device)
        self._empty()

    def set(self, cursor: Tensor, data: TensorDictBase, *, set_cursor: bool = True) -> None:
        """Write ``data[ROW]`` (N, columns) to the slots ``cursor`` (N,)."""
        rows = data.get(ROW).to(self.device)
        if self.rows is None:
            self.rows = rows.new_empty(self.max_size, rows.shape[1])
        self.rows.index_copy_(0, cursor.to(self.device), rows)
        self.filled = min(self.filled + len(rows), self.max_size)

    def get(self, index: Any) -> TensorDictBase:
        """Rows of slots of any shape, or of a slice."""
        if isinstance(index, slice):
            rows = self.rows[: self.filled][index]
        else:
            index = torch.as_tensor(index, device=self.device)
            rows = self.rows.index_select(0, index.flatten()).unflatten(0, index.shape)
        return TensorDict({ROW: rows}, rows.shape[:-1])

    def __len__(self) -> int:
        """Rows written, until all slots are in use."""
        return self.filled

    def state_dict(self) -> dict[str, Any]:
        """The rows of the slots in use, not copied."""
        return {} if self.rows is None else {ROW: self.rows[: self.filled]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a `state_dict`; ValueError if it holds more rows than this storage can."""
        self._empty()
        if not state_dict:
            return
        rows = state_dict[ROW]
        if len(rows) > self.max_size:
            raise ValueError(f"{len(rows)} transitions do not fit into {self.max_size}")
        self.set(torch.arange(len(rows)), state_dict)

    def _empty(self) -> None:
        self.rows: Tensor | None = None
        self.filled = 0


class Replay:
    """What the trainer needs of a replay buffer: store vector steps, draw batches, take losses back.

    Drawing with ``records`` waits for the priorities of each batch's predecessor; else the batches of several
    updates are drawn together and share the priorities of that moment. Up to ``steps_at_once`` vector steps
    wait to be written together, before anything is drawn: few rows cost almost as much as many.
    """

    def __init__(
        self,
        ring: Ring,
        sampler: RowSampler,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",  # of the rows
        batch_device: torch.device | str | None = None,  # where batches go; None: they stay
        windows: RobotWindows | StreamWindows | None = None,  # n-step transitions of what is stored
        records: RecordWindows | None = None,  # n-step transitions of what is drawn
        steps_at_once: int = 1,
    ) -> None:
        self.ring = ring
        self.sampler = sampler
        self.batch_size = batch_size
        self.batch_device = device if batch_device is None else batch_device
        self.windows = windows
        self.records = records
        self.steps_at_once = steps_at_once
        self._buffer = TensorDictReplayBuffer(
            storage=RowStorage(ring.slots, device),
            sampler=sampler,
            writer=ring,
            collate_fn=lambda rows: rows,
        )
        self._waiting: list[RobotRows | Windows] = []
        self._losses: list[tuple[Tensor, Tensor]] = []  # slots of batches, and their losses

    @property
    def buffer(self) -> TensorDictReplayBuffer:
        """The buffer, with all losses so far taken into account and everything stored so far written."""
        self._write_losses()
        self._write_steps()
        return self._buffer

    @property
    def stored(self) -> int:
        """Transitions stored."""
        self._write_steps()
        # The legacy memory of records counts one too many before the ring is full (Quirk A4).
        return min(self.ring.stored + 1, self.ring.capacity) if self.records else self.ring.stored

    def store(self, step: RobotRows) -> None:
        """Add the transitions of one vector step."""
        complete = self.windows(step) if self.windows else step
        if complete is not None:
            self._waiting.append(complete)
            if len(self._waiting) >= self.steps_at_once:
                self._write_steps()

    def sample(self, updates: int) -> Iterator[Draw]:
        """One batch of `batch_size` for each of several updates."""
        if self.records:
            return (draw for _ in range(updates) for draw in self._draw(1))
        return self._draw(updates)

    def feed_back(self, draw: Draw, losses: dict[str, Tensor]) -> None:
        """Take the losses of the samples of a batch, the mean over SAC's critics, as their priorities."""
        if draw.index is not None:
            of_samples = [loss for loss in losses.values() if loss.ndim == 1]
            self._losses.append((draw.index, torch.stack(of_samples).mean(0)))

    def state_dict(self) -> dict[str, Any]:
        """Transitions, where the ring stands, priorities and unfinished windows; nothing is copied."""
        buffer = self.buffer
        return {
            "transitions": buffer.storage.state_dict(),
            "ring": self.ring.state_dict(),
            "sampler": self.sampler.state_dict(),
            "windows": self.windows.state_dict() if self.windows else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict` of a replay of the same construction; ValueError if it does not fit."""
        self._waiting, self._losses = [], []
        self._buffer.storage.load_state_dict(state["transitions"])
        self.ring.load_state_dict(state["ring"])
        self.sampler.load_state_dict(state["sampler"])
        if self.windows:
            self.windows.load_state_dict(state["windows"])

    def _write_losses(self) -> None:
        if self._losses:
            index, loss = map(torch.cat, zip(*self._losses, strict=True))
            self._losses = []
            self.sampler.update_priority(index, loss)

    def _write_steps(self) -> None:
        if not self._waiting:
            return
        self._write_losses()  # before new rows take the slots, and the largest priority so far
        rows = torch.cat([step.rows for step in self._waiting])
        acted = torch.cat([step.acted for step in self._waiting])
        self._waiting = []
        for entry in self.ring.entries(rows, acted):
            self._buffer.extend(entry)

    def _draw(self, batches: int) -> Iterator[Draw]:
        drawn = self.buffer.sample(batches * self.batch_size)
        columns = [drawn.get(ROW).to(self.batch_device)]
        if self.sampler.prioritized:
            columns += [drawn.get("index"), drawn.get("priority_weight").to(self.batch_device)]
        if self.records:
            windows, index, weight = columns
            columns = [self.records(windows), index[:, 0], weight[:, 0]]
        return map(Draw, *(each.split(self.batch_size) for each in columns))
