"""The processes that train one agent together, as `torchrun` starts them; one alone is a rank of one."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Made = TypeVar("Made")

FOLDER = "ranks"
"""Below the folder of a trial: what each rank but the first alone knows."""
PATIENCE = timedelta(hours=6)
"""How long a rank waits for another: an evaluation may take as long."""
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class Ranks(NamedTuple):
    """This process among those that train together; all of them call the methods that wait, in one order."""

    number: int = 0
    count: int = 1
    local_number: int = 0  # on its machine
    local_count: int = 1

    @classmethod
    def here(cls) -> "Ranks":
        """What `torchrun` has told this process."""
        if not all(name in os.environ for name in VARIABLES):
            return cls()
        return cls(*(int(os.environ[name]) for name in VARIABLES))

    @property
    def first(self) -> bool:
        """Whether this is the one that evaluates, speaks and writes the results."""
        return self.number == 0

    def device(self, name: str) -> str:
        """The device of this rank: of ``cuda`` each on a machine has its own."""
        return f"cuda:{self.local_number}" if name == "cuda" and self.count > 1 else name

    def folder(self, trial: Path) -> Path:
        """Where this rank writes, given the folder of the trial."""
        return trial if self.first else trial / FOLDER / str(self.number)

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Within the block only the first rank prints."""
        if self.first:
            yield
            return
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield

    def join(self, device: str) -> None:
        """Meet the others: over gloo on CPUs, and over NCCL for what is on GPUs."""
        if self.count == 1:
            return
        import torch.distributed as dist  # seconds: help and a process alone do not wait for it

        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)

    def leave(self) -> None:
        """Part from the others, when nothing has failed."""
        if self.count > 1:
            import torch.distributed as dist

            dist.destroy_process_group()

    def totals(self, values: Sequence[float]) -> list[float]:
        """Sums over the ranks, entry by entry."""
        if self.count == 1:
            return list(values)
        import torch
        import torch.distributed as dist

        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def all(self, holds: bool) -> bool:
        """Whether something holds on all ranks."""
        return self.totals([float(holds)]) == [self.count]

    def any(self, holds: bool) -> bool:
        """Whether something holds on some rank."""
        return self.totals([float(holds)]) != [0.0]

    def gathered(self, value: Any) -> list[Any]:
        """The values of all ranks."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, make: Callable[[], Made]) -> Made:
        """What the first rank makes; if it fails, which it reports, the others end with status 2."""
        if self.count == 1:
            return make()
        import torch.distributed as dist

        box: list[tuple[Made] | None] = [None]
        try:
            if self.first:
                box = [(make(),)]
        finally:
            dist.broadcast_object_list(box)
        if box[0] is None:
            sys.exit(2)
        return box[0][0]


ALONE = Ranks()
