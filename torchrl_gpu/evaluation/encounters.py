"""Encounters of a few ships, such as Imazu's, played many times: who gave way, and how near they came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marinenav_env.envs.contract.episode import Episode
from marinenav_env.envs.torchrl_gpu.state import WorldState, X, Y
from torchrl_gpu.evaluation.fleets import Beginning, Seen, play, results_of
from torchrl_gpu.evaluation.metrics import FleetResults

ASIDE = 2.5
"""Metres, a vessel's beam, by which a ship leaves its straight course to count as giving way."""


@dataclass
class Encounter:
    """What came of one encounter, played n times by R ships."""

    results: FleetResults  # n
    asides: np.ndarray  # greatest distance of each ship from its straight course, (n, R) (m)
    duties: np.ndarray  # turns that the traffic rule asked of each ship for, (n, R)
    kept: np.ndarray  # of these, those that were kept, (n, R)
    track: np.ndarray  # of the first time: positions at each step, NaN out of the water, (T + 1, R, 2) (m)

    @property
    def gave_way(self) -> list[int]:
        """Ships that mostly left their straight course by a beam or more."""
        return np.flatnonzero(np.median(self.asides, axis=0) >= ASIDE).tolist()

    @property
    def separation(self) -> float:
        """Smallest gap between two ships, median over the times (m)."""
        return float(np.median(self.results.vessel_gaps))


class Tracks:
    """Where robots are: positions [2, R, E] (m) at each step, NaN before and after they are in the water."""

    def __init__(self, state: WorldState) -> None:
        self._steps: list[Tensor] = []
        self._empty = torch.full_like(state.motion[:2], torch.nan)
        envs = torch.arange(state.motion.shape[-1], device=state.motion.device)
        self._note(envs, state.active > 0, state)

    def __call__(self, seen: Seen) -> None:
        """Note a step; see `fleets.Look`."""
        self._note(seen.ids, seen.acting, seen.state)

    def _note(self, ids: Tensor, acting: Tensor, state: WorldState) -> None:
        place = torch.where(acting, state.motion[[X, Y]], torch.nan)
        self._steps.append(self._empty.index_copy(-1, ids, place))

    def positions(self) -> np.ndarray:
        """Positions (m), (E, T + 1, R, 2); NaN of vessels out of the water."""
        return torch.stack(self._steps).permute(3, 0, 2, 1).cpu().numpy()


def meet(
    policy: Any, episodes: Sequence[Episode], times: int, seed: int, device: str = "cpu"
) -> list[Encounter]:
    """Let ships meet as each episode says, so many times with other noise of the sensors."""
    sizes = [episode["env"]["num_robots"] for episode in episodes]
    start = Beginning.loaded([episode for episode in episodes for _ in range(times)], seed, device)
    tracks = Tracks(start.state)
    played = play(policy, start, seed + 1, tracks)
    results, positions = results_of(played), tracks.positions()
    asides = _asides(positions, *(ends.permute(2, 1, 0).cpu().numpy() for ends in _ends(start.state)))
    duties = played.conduct.duties
    counts = [count.T.cpu().numpy() for count in (duties.ended, duties.kept)]
    encounters = []
    for k, size in enumerate(sizes):
        own = slice(k * times, (k + 1) * times)
        parts = [values[own, :size] for values in (asides, *counts)]
        encounters.append(Encounter(results.part(own), *parts, _in_water(positions[own.start, :, :size])))
    return encounters


def _ends(state: WorldState) -> tuple[Tensor, Tensor]:
    """Starts and goals, [2, R, E]."""
    return state.scenario.initial[[X, Y]], state.scenario.goal


def _asides(positions: np.ndarray, starts: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Greatest distance from the line from start to goal, (E, R), of positions (E, T, R, 2)."""
    line = goals - starts
    length = np.maximum(np.linalg.norm(line, axis=-1), 1e-6)
    way = positions - starts[:, None]
    across = np.abs(way[..., 0] * line[:, None, :, 1] - way[..., 1] * line[:, None, :, 0])
    return np.nan_to_num(across).max(1) / length


def _in_water(track: np.ndarray) -> np.ndarray:
    """A track (T + 1, R, 2) without the steps at its end in which nobody is in the water."""
    return track[: 1 + np.flatnonzero(np.isfinite(track[..., 0]).any(1))[-1]]
