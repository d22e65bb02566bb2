"""Scenarios of the legacy distribution, many at a time (environment spec 4).

The legacy generator draws one candidate after the other and keeps those that fit what it has kept before.
Here a block of candidates is drawn for every scenario, and each round accepts the first candidate that still
fits: the same greedy acceptance over a stream of independent candidates, hence the same distribution.

Bound: 500 candidates a category, which is the legacy cap itself, so that scenarios end short as often as
there (Quirk W9). They come in blocks of 64, 96, 140 and 200; after each, only scenarios that still lack
something go on, so that the unluckiest do not hold up the others and the expected work is little more than a
first block.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import MAX_ATTEMPTS, OBSTACLE_MARGIN, START_MARGIN
from marinenav_env.envs.torchrl_gpu.state import MOTION_SIZE, THETA, MapParams, Scenario, X, Y, present

BLOCKS = (64, 96, 140, MAX_ATTEMPTS - 300)  # candidates; together the legacy cap


class Request(NamedTuple):
    """What N scenarios shall hold; all [N]."""

    num_robots: Tensor
    num_cores: Tensor
    num_obs: Tensor
    min_start_goal_dis: Tensor
    map: MapParams

    def select(self, columns: Tensor) -> "Request":
        """The requests of some scenarios."""
        limits = MapParams(*(row[columns] for row in self.map))
        return Request(*(row[columns] for row in self[:4]), limits)


class Placed(NamedTuple):
    """Objects of one category placed so far: their features [F, slots, N], and how many [N]."""

    features: Tensor
    count: Tensor

    def select(self, columns: Tensor) -> "Placed":
        """The objects of some scenarios."""
        return Placed(self.features[..., columns], self.count[columns])

    def filled(self) -> "Placed":
        """Without the slots that are empty in all scenarios; the host waits to learn which."""
        return Placed(self.features[:, : int(self.count.max())], self.count)

    def exists(self) -> Tensor:
        """Which slots are filled, bool [slots, N]."""
        return present(self.count, self.features.shape[1])


Propose = Callable[[Request, int, torch.Generator], Tensor]
Fits = Callable[[Tensor, Request, dict[str, Placed]], Tensor]
Clashes = Callable[[Tensor, Tensor, Request], Tensor]


class Category(NamedTuple):
    """How one kind of object is placed; an object has F = `size` features."""

    name: str
    size: int
    propose: Propose  # candidates [F, B, N], drawn as in the legacy generator
    fits: Fits  # the map and the categories before, bool [B, N]
    clashes: Clashes  # with an object of their own kind, broadcast over [F, ...] features


def generate(request: Request, slots: tuple[int, int, int], generator: torch.Generator) -> Scenario:
    """Draw N scenarios with room for R, C, O (`slots`) things; the generator is on the device of the request.

    Robots are at rest in still water (Quirk W6: `velocity` shows no current at first).
    """
    placed: dict[str, Placed] = {}
    for category, wanted, size in zip(CATEGORIES, request[:3], slots, strict=True):
        placed[category.name] = place(category, wanted, size, request, placed, generator)
    robots, cores, obstacles = (placed[category.name] for category in CATEGORIES)
    initial = robots.features.new_zeros(MOTION_SIZE, *robots.features.shape[1:])
    initial[X], initial[Y] = robots.features[0], robots.features[1]
    initial[THETA] = 2 * torch.pi * _random(initial[THETA].shape, request, generator)
    initial *= robots.exists()
    counts = torch.stack((robots.count, cores.count, obstacles.count)).to(torch.int32)
    return Scenario(initial, robots.features[2:], cores.features, obstacles.features, counts)


def place(
    category: Category,
    wanted: Tensor,
    size: int,
    request: Request,
    before: dict[str, Placed],
    generator: torch.Generator,
) -> Placed:
    """Place up to `wanted` [N] objects of a category in `size` slots, within 500 candidates each."""
    features = request.map.width.new_zeros(category.size, size, len(wanted))
    everything = Placed(features, torch.zeros_like(wanted))
    columns = torch.arange(len(wanted), device=wanted.device)
    for block in BLOCKS:
        columns = columns[everything.count[columns] < wanted[columns]]
        if len(columns) == 0:
            break
        part, some = request.select(columns), {name: p.select(columns) for name, p in before.items()}
        candidates = category.propose(part, block, generator)
        placed = everything.select(columns)
        fits = category.fits(candidates, part, some)
        if block != BLOCKS[0]:
            there = placed.filled()
            clash = category.clashes(candidates[:, None], there.features[:, :, None], part)
            fits &= ~(clash & there.exists()[:, None]).any(0)
        placed = accept(category, candidates, fits, placed, wanted[columns], part)
        everything.features[..., columns] = placed.features
        everything.count[columns] = placed.count
    return everything


def accept(
    category: Category, candidates: Tensor, fits: Tensor, placed: Placed, wanted: Tensor, request: Request
) -> Placed:
    """Keep, one a round, the first candidate of each scenario that fits all kept before it.

    `candidates` are [F, B, N], `wanted` [N]; `fits`, bool [B, N], says which clash with nothing `placed` yet.
    """
    features, count = placed.features.clone(), placed.count.clone()
    position = torch.arange(fits.shape[0], dtype=torch.int16, device=fits.device)[:, None]
    last = fits.shape[0] - 1
    slots = torch.arange(features.shape[1], device=fits.device)[:, None]
    for _ in range(min(features.shape[1], len(fits))):
        first = torch.where(fits, position, last + 1).amin(0)
        found = (first <= last) & (count < wanted)
        if found.device.type == "cpu" and not found.any():
            break
        index = first.clamp(max=last).long()
        new = candidates.gather(1, index.expand(len(candidates), 1, -1))
        features = torch.where((slots == count) & found, new, features)
        fits = fits & ~category.clashes(candidates, new, request) & (position > first)
        count = count + found
    return Placed(features, count)


def _random(shape: tuple[int, ...], request: Request, generator: torch.Generator) -> Tensor:
    like = request.map.width
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)


def _uniform(
    low: Tensor | float, high: Tensor, request: Request, block: int, generator: torch.Generator
) -> Tensor:
    """Uniform in [low, high), [block, N]."""
    return low + (high - low) * _random((block, *request.map.width.shape), request, generator)


def _near(a: Tensor, b: Tensor, limit: Tensor, *, inclusive: bool = False) -> Tensor:
    """Whether points a and b, [2, ...], are closer than `limit` (m); or as close."""
    squared = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
    return squared <= limit**2 if inclusive else squared < limit**2


def _near_robots(candidates: Tensor, clearance: Tensor, robots: Placed) -> Tensor:
    """Whether candidates [F, B, N] are closer to a start or goal than `clearance`, bool [B, N]."""
    points = robots.features[:, :, None]
    near = _near(candidates[:, None], points[:2], clearance) | _near(
        candidates[:, None], points[2:], clearance
    )
    return (near & robots.exists()[:, None]).any(0)


def _propose_robots(request: Request, block: int, generator: torch.Generator) -> Tensor:
    ends = (request.map.width, request.map.height) * 2
    points = [_uniform(START_MARGIN, end - START_MARGIN, request, block, generator) for end in ends]
    return torch.stack(points)


def _robots_fit(candidates: Tensor, request: Request, _: dict[str, Placed]) -> Tensor:
    return ~_near(candidates[:2], candidates[2:], request.min_start_goal_dis)


def _robots_clash(a: Tensor, b: Tensor, request: Request) -> Tensor:
    """Quirk W5: a start is never compared with other robots' goals."""
    clear = request.map.clear_r
    return _near(a[:2], b[:2], clear, inclusive=True) | _near(a[2:], b[2:], clear, inclusive=True)


def _propose_cores(request: Request, block: int, generator: torch.Generator) -> Tensor:
    limits = request.map
    x = _uniform(0.0, limits.width, request, block, generator)
    y = _uniform(0.0, limits.height, request, block, generator)
    clockwise = (_random(x.shape, request, generator) > 0.5).to(x.dtype)
    edge_speed = _uniform(limits.v_low, limits.v_high, request, block, generator)
    return torch.stack((x, y, clockwise, 2 * torch.pi * limits.r * edge_speed))


def _cores_fit(candidates: Tensor, request: Request, before: dict[str, Placed]) -> Tensor:
    """Quirk W7: the width bounds both axes."""
    limits = request.map
    x, y = candidates[0], candidates[1]
    inside = (torch.minimum(x, y) >= limits.r) & (torch.maximum(x, y) + limits.r <= limits.width)
    return inside & ~_near_robots(candidates, limits.r + limits.clear_r, before["robots"])


def _cores_clash(a: Tensor, b: Tensor, request: Request) -> Tensor:
    """Quirk W8: opposite cores closer than 2 r divide by a negative number and pass."""
    limits = request.map
    distance = torch.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)
    same = distance < (a[3] + b[3]) / (2 * torch.pi * limits.v_rel_max)
    strong, weak = torch.maximum(a[3], b[3]), torch.minimum(a[3], b[3])
    opposite = strong / (distance - 2 * limits.r) > limits.p * weak / limits.r
    return torch.where(a[2] == b[2], same, opposite)


def _propose_obstacles(request: Request, block: int, generator: torch.Generator) -> Tensor:
    limits = request.map
    x = _uniform(OBSTACLE_MARGIN, limits.width - OBSTACLE_MARGIN, request, block, generator)
    y = _uniform(OBSTACLE_MARGIN, limits.height - OBSTACLE_MARGIN, request, block, generator)
    return torch.stack((x, y, _uniform(limits.obs_r_low, limits.obs_r_high, request, block, generator)))


def _obstacles_fit(candidates: Tensor, request: Request, before: dict[str, Placed]) -> Tensor:
    limits = request.map
    x, y, radius = candidates
    inside = (torch.minimum(x, y) >= radius) & (x + radius <= limits.width) & (y + radius <= limits.height)
    cores = before["cores"]
    at_core = _near(candidates[:, None], cores.features[:2, :, None], limits.r + radius, inclusive=True)
    at_core = (at_core & cores.exists()[:, None]).any(0)
    return inside & ~at_core & ~_near_robots(candidates, radius + limits.clear_r, before["robots"])


def _obstacles_clash(a: Tensor, b: Tensor, _: Request) -> Tensor:
    return _near(a, b, a[2] + b[2], inclusive=True)


CATEGORIES = (
    Category("robots", 4, _propose_robots, _robots_fit, _robots_clash),
    Category("cores", 4, _propose_cores, _cores_fit, _cores_clash),
    Category("obstacles", 3, _propose_obstacles, _obstacles_fit, _obstacles_clash),
)
