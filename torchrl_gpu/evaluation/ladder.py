"""A ladder of scenarios, from three vessels in open water to eight among buoys and currents."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from torchrl_gpu.evaluation.fleets import Beginning, play, results_of
from torchrl_gpu.evaluation.metrics import FleetResults

START_GOAL = 30.0
"""Least distance from a start to its goal (m)."""
PADDING = 5 / 3
"""How many times as many vessels as the fewest an episode of a batch may have.

More batches waste less on absent vessels, but each waits anew for its last time-outs, hundreds of steps long.
"""


class Cell(NamedTuple):
    """Scenarios of one kind; of buoys and vortices fewer are placed where no room is found."""

    vessels: int
    buoys: int
    vortices: int


class Decisions(NamedTuple):
    """How long a policy took to decide, for all vessels of a batch together."""

    seconds: float
    number: int

    def __add__(self, other: "Decisions") -> "Decisions":  # type: ignore[override]
        return Decisions(*(a + b for a, b in zip(self, other, strict=True)))


NO_DECISIONS = Decisions(0.0, 0)


def cells(vessels: Sequence[int], buoys: Sequence[int], vortices: Sequence[int]) -> list[Cell]:
    """Every combination, by vessels, vortices, buoys."""
    return [Cell(n, b, c) for n in vessels for c in vortices for b in buoys]


def batches(ladder: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that are played together: those of about as many vessels, the fewest first."""
    found: list[list[Cell]] = []
    for cell in sorted(ladder):
        if not found or cell.vessels > PADDING * found[-1][0].vessels:
            found.append([])
        found[-1].append(cell)
    return found


def climb(
    policy: Any,
    batch: Sequence[Cell],
    episodes: int,
    seed: int,
    device: str = "cpu",
    compiled: bool = False,
) -> tuple[dict[Cell, FleetResults], Decisions]:
    """Play as many episodes of each cell of a batch; the same for every policy, given the seed."""
    start = beginning(batch, episodes, seed, device)
    played = play(policy, start, seed + 1, compiled=compiled)
    results = results_of(played)
    parts = {cell: results.part(slice(k * episodes, (k + 1) * episodes)) for k, cell in enumerate(batch)}
    return parts, Decisions(played.seconds, played.decisions)


def beginning(batch: Sequence[Cell], episodes: int, seed: int, device: str = "cpu") -> Beginning:
    """Episodes of cells, `episodes` of the first one, then of the next."""
    schedule = {
        "timesteps": [0] * len(batch),
        "num_robots": [cell.vessels for cell in batch],
        "num_cores": [cell.vortices for cell in batch],
        "num_obstacles": [cell.buoys for cell in batch],
        "min_start_goal_dis": [START_GOAL] * len(batch),
    }
    number = len(batch) * episodes
    vessels = max(cell.vessels for cell in batch)
    world = VectorWorld(number, vessels, schedule=schedule, seed=seed, device=device)
    world.pin(torch.arange(number) // episodes)
    world.begin()
    return Beginning.of(world)
