"""Worlds seen from above, as pictures: what `MarineNavTorchRLEnv.render` gives. North is up.

Drawn pixel by pixel, without a plotting library, in milliseconds: pictures of a training, not of a paper
(`marinenav view` draws those).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from marinenav_env.envs.contract import colours
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu.numpy_worlds import NumpyWorlds
from marinenav_env.envs.torchrl_gpu.ops.current import current_field
from marinenav_env.envs.torchrl_gpu.state import CORES, OBSTACLES, THETA, X, Y
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

SLOWEST, FASTEST = 0.1, 3.0  # m/s
MARGIN = 3.0
"""Water (m) that is seen around the map, as vessels may leave it (Quirk W1)."""
LEAST_SIDE = 16  # pixels
ENDED = {Outcome.REACH_GOAL, Outcome.DEACTIVATED_AFTER_REACHING_GOAL, Outcome.COLLISION}
ENDED |= {Outcome.DEACTIVATED_AFTER_COLLISION}
COLLIDED = {Outcome.COLLISION, Outcome.DEACTIVATED_AFTER_COLLISION}

NOT_BEGUN = "nothing to see before any episode has begun; call reset first"


class View(NamedTuple):
    """One world as it stands, metres and radians, x to the north; float64 but for the outcomes."""

    size: tuple[float, float]  # of the map, north and east
    cores: torch.Tensor  # rows as in `Scenario`, (4, C)
    core_radius: float
    obstacles: np.ndarray  # x, y, radius (O, 3)
    goals: np.ndarray  # x, y, radius within which a vessel has arrived (R, 3)
    poses: np.ndarray  # x, y, yaw (R, 3)
    hulls: np.ndarray  # length, width (R, 2)
    outcomes: Sequence[int]  # `Outcome` of each vessel


class Canvas:
    """A square of pixels over a part of the map; shapes are painted over each other, with soft edges."""

    def __init__(self, size: tuple[float, float], side: int) -> None:
        extent = max(size) + 2 * MARGIN
        self.pixel = extent / side
        south, west = (length / 2 - extent / 2 for length in size)
        centres = (np.arange(side) + 0.5) * self.pixel
        self.north, self.east = (south + centres)[::-1, None], west + centres[None]
        self.image = np.empty((side, side, 3))

    def near(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Rows and columns of the pixels within `reach` of a point along either axis."""
        rows = np.flatnonzero(abs(self.north[:, 0] - x) <= reach)
        columns = np.flatnonzero(abs(self.east[0] - y) <= reach)
        return tuple(slice(found[0], found[-1] + 1) if len(found) else slice(0) for found in (rows, columns))

    def paint(self, part: tuple[slice, slice], inside: np.ndarray, colour: np.ndarray) -> None:
        """Colour where `inside`, the distance to the edge of a shape (m), is positive."""
        cover = np.clip(inside / self.pixel + 0.5, 0, 1)[..., None]
        self.image[part] += cover * (colour - self.image[part])

    def disc(self, x: float, y: float, radius: float, colour: np.ndarray, ring: float = np.inf) -> None:
        """A disc, or only its outermost `ring` metres."""
        part = self.near(x, y, radius + self.pixel)
        inside = radius - np.hypot(self.north[part[0]] - x, self.east[:, part[1]] - y)
        self.paint(part, np.minimum(inside, ring - inside), colour)

    def hull(self, pose: np.ndarray, length: float, width: float, colour: np.ndarray) -> None:
        """A vessel, pointed at its bow."""
        x, y, theta = pose
        part = self.near(x, y, np.hypot(length, width) / 2 + self.pixel)
        north, east = self.north[part[0]] - x, self.east[:, part[1]] - y
        ahead = north * np.cos(theta) + east * np.sin(theta)
        aside = abs(east * np.cos(theta) - north * np.sin(theta))
        beam = width / 2 * np.clip(2 - 4 * ahead / length, 0, 1)  # the foremost quarter tapers
        self.paint(part, np.minimum(beam - aside, length / 2 - abs(ahead)), colour)


def pictures(views: Iterable[View], side: int) -> np.ndarray:
    """The worlds as uint8 (E, side, side, 3); ValueError for a ``side`` below `LEAST_SIDE`."""
    if side < LEAST_SIDE:
        raise ValueError(f"side is {side}; allowed are {LEAST_SIDE} and more")
    return np.stack([picture(view, side) for view in views])


def picture(view: View, side: int) -> np.ndarray:
    """The world as uint8 (side, side, 3)."""
    canvas = Canvas(view.size, side)
    canvas.image[:] = water(view, canvas)
    for x, y, radius in view.obstacles:
        canvas.disc(x, y, radius, rgb(colours.OBSTACLE))
    for k, outcome in enumerate(view.outcomes):
        if outcome == Outcome.ABSENT:
            continue
        colour = rgb(colours.VESSELS[k % len(colours.VESSELS)])
        canvas.disc(*view.goals[k], colour, ring=2 * canvas.pixel)
        canvas.disc(*view.goals[k, :2], 3 * canvas.pixel, colour)
        canvas.hull(view.poses[k], *view.hulls[k], (colour + 2) / 3 if outcome in ENDED else colour)
        if outcome in COLLIDED:
            canvas.disc(*view.poses[k, :2], view.hulls[k, 0] / 2, rgb(colours.ALARM), ring=2 * canvas.pixel)
    return (canvas.image * 255 + 0.5).astype(np.uint8)


def water(view: View, canvas: Canvas) -> np.ndarray:
    """Colours of the water, (side, side, 3)."""
    place = torch.from_numpy(np.stack(np.broadcast_arrays(canvas.north, canvas.east)).reshape(2, -1, 1))
    field = current_field(view.cores[..., None], torch.tensor([view.core_radius], dtype=torch.float64))
    speed = np.hypot(*(part.numpy() for part in field(*place))).reshape(canvas.image.shape[:2])
    share = np.log(np.clip(speed, SLOWEST, FASTEST) / SLOWEST) / np.log(FASTEST / SLOWEST)
    stops = np.array([rgb(colour) for colour in colours.WATER])
    return np.stack([np.interp(share, np.linspace(0, 1, len(stops)), channel) for channel in stops.T], -1)


def rgb(colour: str) -> np.ndarray:
    """Three numbers from 0 to 1."""
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255


def views_of_numpy(worlds: NumpyWorlds) -> Iterator[View]:
    """Views of reference worlds; RuntimeError before the first reset."""
    for world, outcomes in zip(worlds.worlds, worlds.outcomes, strict=True):
        robots = world.robots
        if not robots or robots[0].goal is None:
            raise RuntimeError(NOT_BEGUN)
        cores = [(core.x, core.y, float(core.clockwise), core.Gamma) for core in world.cores]
        yield View(
            size=(world.width, world.height),
            cores=torch.tensor(cores, dtype=torch.float64).reshape(-1, 4).T,
            core_radius=world.r,
            obstacles=np.array([(disc.x, disc.y, disc.r) for disc in world.obstacles]).reshape(-1, 3),
            goals=np.array([(*robot.goal, robot.goal_dis) for robot in robots]),
            poses=np.array([(robot.x, robot.y, robot.theta) for robot in robots]),
            hulls=np.array([(robot.length, robot.width) for robot in robots]),
            outcomes=outcomes[: len(robots)],
        )


def views_of_tensors(world: VectorWorld) -> Iterator[View]:
    """Views of worlds of tensors; RuntimeError before the first reset."""
    if world.state is None:
        raise RuntimeError(NOT_BEGUN)
    state, robots, maps = world.state, world.params.of_robots(), world.params.of_map()
    shape = (world.max_robots, world.num_envs)
    of_robots = [torch.broadcast_to(each, shape) for each in (robots.goal_dis, robots.length, robots.width)]
    goal_radius, *hull = (exact(each) for each in of_robots)
    goals = np.concatenate((exact(state.scenario.goal), goal_radius[None]))
    poses, outcome = exact(state.motion[[X, Y, THETA]]), state.outcome.tolist()
    obstacles, cores = exact(state.scenario.obstacles), state.scenario.cores.double().cpu()
    counts = state.scenario.counts.cpu()
    for k in range(world.num_envs):
        yield View(
            size=(maps.width[k].item(), maps.height[k].item()),
            cores=cores[:, : counts[CORES, k], k],
            core_radius=maps.r[k].item(),
            obstacles=obstacles[:, : counts[OBSTACLES, k], k].T,
            goals=goals[..., k].T,
            poses=poses[..., k].T,
            hulls=np.stack(hull)[..., k].T,
            outcomes=[row[k] for row in outcome],
        )


def exact(tensor: torch.Tensor) -> np.ndarray:
    """Copy to the host, as NumPy's float64."""
    return tensor.double().cpu().numpy()
