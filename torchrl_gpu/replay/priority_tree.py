"""A sum tree in tensors: slots drawn in proportion to their priorities, and the smallest priority.

Every node sums a block of nodes below it. A level is one tensor, and a batch of slots is found or updated
level by level, in the same operations on a CPU and on a GPU, of which none makes the host wait. Wide blocks
make few levels: on small batches the calls take the time, not the numbers.
"""

import torch
from torch import Tensor

FANOUT = 64
"""Nodes of a block."""
ROOT = 2**14
"""Nodes of the block at the top, at most."""
LEAST = 1e-300
"""In place of sums of 0, which lie before all slots."""


class PriorityTree:
    """Priorities of slots 0 to ``size - 1``, 0 where there is none.

    In float64 sums of N priorities are exact to about N 1e-16 of the total at worst. With ``strays`` a value
    that rounding pushes past the last priority of a block selects the empty slot after it, as in the legacy
    tree; otherwise it selects that priority.
    """

    def __init__(
        self,
        size: int,
        device: torch.device | str = "cpu",
        *,
        fanout: int = FANOUT,
        root: int = ROOT,  # nodes of the block at the top, at most
        dtype: torch.dtype = torch.float64,
        strays: bool = False,
    ) -> None:
        self.size = size
        self.fanout = fanout
        self.strays = strays
        self._levels: list[Tensor] = []  # blocks (nodes, fanout) of the priorities, of their sums, ...
        nodes = size
        while nodes > root or not self._levels:
            nodes = -(-nodes // fanout)
            self._levels.append(torch.zeros(nodes, fanout, dtype=dtype, device=device))
        self._levels.append(torch.zeros(1, nodes, dtype=dtype, device=device))
        self._minima = torch.full((len(self._levels[0]),), torch.inf, dtype=dtype, device=device)

    def __getitem__(self, slots: Tensor) -> Tensor:
        """Priorities of slots (N,)."""
        return self._priorities.index_select(0, slots)

    @property
    def total(self) -> Tensor:
        """Sum of all priorities, 0-d."""
        return self._levels[-1].sum()

    @property
    def smallest(self) -> Tensor:
        """Smallest priority that is not 0, 0-d; infinity without any."""
        return self._minima.amin()

    def set(self, slots: Tensor, priorities: Tensor) -> None:
        """Give slots (N,) priorities (N,); for a slot named twice the last one holds."""
        found, order = slots.sort(stable=True)
        last = order[torch.searchsorted(found, slots, right=True) - 1]
        self._priorities.index_copy_(0, slots, priorities.to(self._priorities.dtype)[last])
        self._sum_up(slots // self.fanout)

    def set_run(self, slots: Tensor, priorities: Tensor) -> None:
        """Give priorities (N,) to slots (N,) that follow each other around the tree.

        Among them may be others, of no priority now or then. N numbers touch few blocks: that is faster.
        """
        self._priorities.index_copy_(0, slots, priorities.to(self._priorities.dtype))
        first = slots.take(priorities.ne(0).byte().argmax()) // self.fanout
        blocks = len(self._minima)
        # Parts of a block at either end of the run, and of the tree where the run goes around it.
        touched = min(len(slots) // self.fanout + 4, blocks)
        self._sum_up((first + torch.arange(touched, device=slots.device)) % blocks)

    def find(self, sums: Tensor) -> Tensor:
        """Slots (N,) int64: the first up to which the priorities add up to at least ``sums`` (N,)."""
        sums = sums.clamp(min=LEAST).unsqueeze(1)
        node, sums = self._descend(self._levels[-1], sums)
        for level in reversed(self._levels[:-1]):
            block = node.squeeze(1).clamp(max=len(level) - 1)
            child, sums = self._descend(level.index_select(0, block), sums)
            node = child.add_(node, alpha=self.fanout)
        return node.squeeze(1).clamp_(max=self.size - 1)

    def _descend(self, blocks: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Which node (N, 1) of blocks (N, nodes), or of one for all, and what is left of ``sums`` (N, 1)."""
        nodes = blocks.shape[1]
        running = sums.new_zeros(len(blocks), 1 + nodes)  # from 0, which lies before the first node
        torch.cumsum(blocks, 1, dtype=sums.dtype, out=running[:, 1:])
        if not self.strays:
            sums = sums.minimum(running[:, -1:])
        one = len(blocks) == 1
        child = torch.searchsorted(running[0] if one else running, sums).clamp_(max=nodes).sub_(1)
        return child, sums - (running.take(child) if one else running.gather(1, child))

    def state_dict(self) -> dict[str, Tensor]:
        """The priorities up to the last that is not 0; every sum follows from them."""
        used = self._priorities.nonzero()
        return {"priorities": self._priorities[: int(used[-1]) + 1 if len(used) else 0]}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a `state_dict`, of a tree of the same construction."""
        self._priorities.zero_()[: len(state["priorities"])] = state["priorities"]
        self._sum_up(torch.arange(len(self._minima), device=self._minima.device))

    @property
    def _priorities(self) -> Tensor:
        return self._levels[0].view(-1)

    def _sum_up(self, blocks: Tensor) -> None:
        """Sum blocks of priorities anew, and what lies above them; a block may be named many times."""
        members = self._levels[0].index_select(0, blocks)
        self._levels[1].view(-1).index_copy_(0, blocks, members.sum(1))
        self._minima.index_copy_(0, blocks, members.masked_fill_(members == 0, torch.inf).amin(1))
        for below, above in zip(self._levels[1:-1], self._levels[2:], strict=True):
            blocks = blocks // self.fanout
            above.view(-1).index_copy_(0, blocks, below.index_select(0, blocks).sum(1))
