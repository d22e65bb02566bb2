"""Scenarios drawn ahead, with their first observation, so that a reset is a lookup."""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

GPU_LAG = 4
"""Requests after which the host looks at how much one of them used: by then a GPU has served it."""


class Note(NamedTuple):
    """How much of the pool was used after a request, on its way from the device.

    `used` holds the beginnings used of each group, on the CPU once `arrival` has come; None where it has.
    """

    used: Tensor
    arrival: Any

    @classmethod
    def of(cls, used: Tensor) -> "Note":
        """Copy without making the host wait."""
        copy = used.to("cpu", non_blocking=True)
        if used.device.type == "cpu":
            return cls(copy, None)
        arrival = torch.cuda.Event()
        arrival.record(torch.cuda.current_stream(used.device))
        return cls(copy, arrival)

    def read(self) -> list[int]:
        """The numbers; waits for a copy that is not complete."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return self.used.tolist()


class ScenarioPool:
    """Beginnings of episodes for groups of environments that ask for the same kind of scenario.

    `draw` gives the beginnings of `n` episodes of group g, tensors [..., n]; at least `size` are held, over
    all groups, and each is handed out at most once: an environment gets the next unused column of its
    `group`, int64 [E]. A group is drawn anew when it cannot serve a request, which the host sees from the
    request. On a GPU reading the request would make the host wait at every step. There the pool reads that
    of `lag` requests ago (0 on the CPU, else `GPU_LAG`), assumes that every environment has begun anew in
    each since, and so draws a little earlier than needed.
    """

    def __init__(
        self, group: Tensor, draw: Callable[[int, int], list[Tensor]], size: int, lag: int | None = None
    ):
        groups = int(group.max()) + 1
        self._lag = (0 if group.device.type == "cpu" else GPU_LAG) if lag is None else lag
        self._draw = draw
        self._one_hot = group == torch.arange(groups, device=group.device)[:, None]
        self._members = torch.bincount(group, minlength=groups).tolist()
        least = max(2, 4 * self._lag)  # requests of all environments: with a lag a quarter is drawn in vain
        self._sizes = [max(least * number, size * number // len(group), 1) for number in self._members]
        starts = torch.tensor([0, *self._sizes[:-1]]).cumsum(0)
        self._start = starts.to(group.device)
        self._used = torch.zeros_like(self._start)
        self._notes: deque[Note] = deque()
        self._served = [0] * groups  # requests since the group was drawn
        self._beginnings: list[Tensor] = []

    @property
    def beginnings(self) -> list[Tensor]:
        """All that has been drawn, [..., columns] each; drawn when first asked for."""
        if not self._beginnings:
            parts = [self._draw(g, number) for g, number in enumerate(self._sizes)]
            self._beginnings = [torch.cat(leaves, -1) for leaves in zip(*parts, strict=True)]
        return self._beginnings

    def begin(self, mask: Tensor, old: list[Tensor] | None) -> list[Tensor]:
        """Tensors `old` with beginnings, never given out, in the environments in `mask`, bool [E].

        On the CPU only those columns are touched, in place; elsewhere the host does not learn which they are.
        Without `old` the mask must hold for all.
        """
        columns = self.take(mask)
        if old is None:
            return [new.index_select(-1, columns) for new in self.beginnings]
        pairs = zip(old, self.beginnings, strict=True)
        if mask.device.type != "cpu":
            return [torch.where(mask, new.index_select(-1, columns), leaf) for leaf, new in pairs]
        chosen = mask.nonzero()[:, 0]
        columns = columns[chosen]
        return [leaf.index_copy_(-1, chosen, new.index_select(-1, columns)) for leaf, new in pairs]

    def take(self, mask: Tensor) -> Tensor:
        """Columns of `beginnings`, int64 [E], for the environments in `mask`, bool [E]; elsewhere 0."""
        asked = self._one_hot & mask
        number = asked.sum(1)
        for g, used in enumerate(self._used_after(number)):
            if used > self._sizes[g]:
                self._refill(g)
            self._served[g] += 1
        rank = asked.cumsum(1) - 1 + (self._start + self._used)[:, None]
        self._used = self._used + number
        if self._lag:
            self._notes.append(Note.of(self._used))
        return (rank * asked).sum(0)

    def _used_after(self, number: Tensor) -> list[int]:
        if self._lag == 0:
            return (self._used + number).tolist()
        seen = self._notes.popleft().read() if len(self._notes) == self._lag else [0] * len(self._members)
        return [
            (used if served >= self._lag else 0) + min(served + 1, self._lag) * members
            for used, served, members in zip(seen, self._served, self._members, strict=True)
        ]

    def _refill(self, g: int) -> None:
        start, number = sum(self._sizes[:g]), self._sizes[g]
        for old, new in zip(self.beginnings, self._draw(g, number), strict=True):
            old[..., start : start + number] = new
        self._used = self._used.clone()  # a note may still be on its way
        self._used[g], self._served[g] = 0, 0

    def state_dict(self) -> dict[str, Any]:
        """What has been drawn, and what has been used of it, as far as it is known."""
        return {
            "beginnings": self.beginnings,
            "used": self._used,
            "notes": [note.read() for note in self._notes],
            "served": list(self._served),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; ValueError for another number of environments or groups."""
        if state["beginnings"][0].shape[-1] != sum(self._sizes):
            raise ValueError("the scenarios drawn ahead are of other environments than these")
        self._beginnings = list(state["beginnings"])
        self._used, self._served = state["used"], list(state["served"])
        self._notes = deque(Note(torch.tensor(used), None) for used in state["notes"])
