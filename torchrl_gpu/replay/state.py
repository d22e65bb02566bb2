"""The state of a replay as tensors and plain numbers: transitions, the ring's position, priorities."""

from typing import Any

import torch
from tensordict import TensorDict
from torchrl.data.replay_buffers.samplers import PrioritizedSampler

from torchrl_gpu.replay.buffer import Replay
from torchrl_gpu.replay.storage import ROW


class ReplayState:
    """Reads and writes the state of a replay. Only slots in use are saved; TorchRL would save the whole ring.

    Args:
        replay: Of the same construction when it is saved and restored.
    """

    def __init__(self, replay: Replay) -> None:
        self.replay = replay

    def state_dict(self) -> dict[str, Any]:
        """The state, not copied."""
        buffer = self.replay.buffer
        stored = len(buffer.storage)
        return {
            "transitions": buffer.storage.get(slice(0, stored)).to_dict() if stored else {},
            "writer": buffer.writer.state_dict(),
            "sampler": self._sampler_state(stored),
            "windows": self.replay.windows.state_dict() if self.replay.windows else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`.

        Raises:
            ValueError: It holds more transitions than this replay can.
        """
        buffer = self.replay.buffer
        buffer.empty()
        if state["transitions"]:
            rows = TensorDict(state["transitions"])
            stored = len(rows[ROW])
            if stored > buffer.storage.max_size:
                raise ValueError(f"{stored} transitions do not fit into {buffer.storage.max_size}")
            rows.batch_size = [stored]
            buffer.storage.set(torch.arange(stored), rows)
        buffer.writer.load_state_dict(state["writer"])
        self._load_sampler(state["sampler"])
        if self.replay.windows:
            self.replay.windows.load_state_dict(state["windows"])

    def _sampler_state(self, stored: int) -> dict[str, Any]:
        sampler = self.replay.buffer.sampler
        if not isinstance(sampler, PrioritizedSampler):
            return sampler.state_dict()
        # Its own state_dict holds the trees as objects; their leaves determine them.
        slots = torch.arange(stored, device=sampler.device)
        leaves = [
            tree[slots] if stored else torch.zeros(0) for tree in (sampler._sum_tree, sampler._min_tree)
        ]
        return {"sums": leaves[0], "minima": leaves[1], "largest": sampler._max_priority}

    def _load_sampler(self, state: dict[str, Any]) -> None:
        sampler = self.replay.buffer.sampler
        if not isinstance(sampler, PrioritizedSampler):
            sampler.load_state_dict(state)
            return
        sampler._maybe_init_from_storage(self.replay.buffer.storage)  # trees where the storage is
        slots = torch.arange(len(state["sums"]), device=sampler.device)
        if len(slots):
            sampler._sum_tree[slots] = state["sums"]
            sampler._min_tree[slots] = state["minima"]
        sampler._max_priority = state["largest"]
