"""Scenarios drawn ahead, with their first observation, so that a reset is a lookup."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Tree = TypeVar("Tree")


class ScenarioPool:
    """Beginnings of episodes for groups of environments that ask for the same kind of scenario.

    Each is handed out once. Environments e of group g get the next unused columns of that group; a group is
    drawn anew when it cannot serve a request. Between draws the host looks at the counters only when the
    environments could have used everything up, which on a GPU keeps it from waiting at most resets.

    Args:
        group: group of each environment, int64 [E].
        draw: beginnings of `n` episodes of group g, any tree of tensors [..., n].
        size: beginnings held at least, over all groups.
    """

    def __init__(self, group: Tensor, draw: Callable[[int, int], Tree], size: int):
        groups = int(group.max()) + 1
        members = torch.bincount(group, minlength=groups).tolist()
        self._draw = draw
        self._one_hot = group == torch.arange(groups, device=group.device)[:, None]
        self._members = members
        self._sizes = [max(2 * number, size * number // len(group), 1) for number in members]
        starts = torch.tensor([0, *self._sizes[:-1]]).cumsum(0)
        self._start = starts.to(group.device)
        self._used = torch.zeros_like(self._start)
        parts = [draw(g, number) for g, number in enumerate(self._sizes)]
        self.beginnings = tree_map(lambda *leaves: torch.cat(leaves, -1), *parts)
        self._takes_unseen = min(n // m for n, m in zip(self._sizes, members, strict=True))

    def take(self, mask: Tensor) -> Tensor:
        """Columns of `beginnings`, int64 [E], for the environments in `mask`, bool [E]; elsewhere 0."""
        asked = self._one_hot & mask
        if self._takes_unseen == 0:
            self._refill(asked.sum(1).tolist())
        self._takes_unseen -= 1
        rank = asked.cumsum(1) - 1 + (self._start + self._used)[:, None]
        self._used = self._used + asked.sum(1)
        return (rank * asked).sum(0)

    def _refill(self, asked: list[int]) -> None:
        used = self._used.tolist()
        for g, number in enumerate(self._sizes):
            if used[g] + asked[g] > number:
                start, used[g] = int(self._start[g]), 0
                fresh = self._draw(g, number)
                tree_map(
                    lambda old, new, s=start, n=number: old[..., s : s + n].copy_(new), self.beginnings, fresh
                )
        self._used = torch.tensor(used, device=self._used.device)
        left = [n - u - a for n, u, a in zip(self._sizes, used, asked, strict=True)]
        self._takes_unseen = 1 + min(n // m for n, m in zip(left, self._members, strict=True))
