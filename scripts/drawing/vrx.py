"""Trajectories recorded in VRX, drawn on the map of the scenario (training spec 10.3, 10.4).

The VRX world is mirrored in x relative to the map: the scenario is mirrored, and poses are brought to it.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marinenav_env.envs.reference.world import MarineNavEnv3
from scripts.command_line import InputError
from scripts.drawing import map as chart
from scripts.drawing import style
from scripts.drawing.episodes import Episode, read_episodes, read_json, world_of
from scripts.drawing.perception import arrow
from scripts.drawing.scenario import add_key
from scripts.drawing.vessel import draw_vessel

CONFIG, TRAJECTORIES = "vrx_exp_config.json", "vrx_exp_traj.json"
CENTRE = (-480.0, 240.0)
"""Position (m) of the map's centre in the VRX world."""
LABEL = (0.066, 0.022)
"""Width and height of a time, as a share of the map's width."""


@dataclass
class Track:
    """What one vessel did, in map coordinates."""

    seconds: np.ndarray  # (n,) since its first sample
    poses: np.ndarray  # (n, 3) x (North, m), y (East, m), yaw (rad)
    velocities: np.ndarray  # (n, 2) North and East (m/s)


def mirrored(episode: Episode) -> Episode:
    """The scenario as VRX places it: x runs the other way, and there are no vortices."""
    episode = deepcopy(episode)
    env, robots = episode["env"], episode["robots"]
    for points in (robots["start"], robots["goal"], env["obstacles"]["positions"]):
        for point in points:
            point[0] = env["width"] - point[0]
    env["cores"] = {"positions": [], "clockwise": [], "Gamma": []}
    return episode


def to_map(world: MarineNavEnv3, seconds: list, poses: list, velocities: list) -> Track:
    """Bring n samples of a vessel, in the VRX world and body frame, to the map of the mirrored scenario."""
    stamps = np.array(seconds, dtype=float)
    # (n, 6) px, py and quaternion; (n, 2) forward and port (m/s)
    px, py, qx, qy, qz, qw = np.array(poses, dtype=float).reshape(len(stamps), 6).T
    forward, port = np.array(velocities, dtype=float).reshape(len(stamps), 2).T
    x = world.width / 2 - (px - CENTRE[0])
    y = world.height / 2 + (py - CENTRE[1])
    yaw = np.pi - np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy**2 + qz**2))
    north = np.cos(yaw) * forward + np.sin(yaw) * port
    east = np.sin(yaw) * forward - np.cos(yaw) * port
    return Track(stamps - stamps[0], np.stack([x, y, yaw], axis=1), np.stack([north, east], axis=1))


def read_experiment(folder: Path) -> tuple[MarineNavEnv3, list[Track]]:
    """Mirrored scenario and tracks, one per robot, of an experiment folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    world = world_of(mirrored(read_episodes(folder / CONFIG)[0]), str(folder / CONFIG))
    path = folder / TRAJECTORIES
    record = read_json(path)
    tracks = []
    for k in range(len(world.robots)):
        name = f"wamv{k + 1}"
        try:
            track = to_map(world, *(record[key][name] for key in ("timestamps", "poses", "velocities")))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: {name}: timestamps, poses and velocities needed ({error})") from None
        except (ValueError, IndexError):
            raise InputError(
                f"{path}: {name}: needs equally many time stamps, poses of 6 and velocities of 2 numbers"
            ) from None
        tracks.append(track)
    return world, tracks


def box(pose: Sequence[float], length: float, width: float) -> np.ndarray:
    """Points (n, 2), East and North (m), spread over a rectangle at x (m), y (m), yaw (rad)."""
    x, y, yaw = pose
    ahead, abeam = (side.ravel() for side in np.mgrid[-0.5:0.5:7j, -0.5:0.5:5j])
    forward, starboard = np.array([np.sin(yaw), np.cos(yaw)]), np.array([np.cos(yaw), -np.sin(yaw)])
    return (y, x) + length * ahead[:, None] * forward + width * abeam[:, None] * starboard


def clear_places(
    points: np.ndarray, size: np.ndarray, limits: chart.Limits, bodies: np.ndarray, paths: np.ndarray
) -> np.ndarray:
    """Centres (n, 2) of labels on the map: near their points, clear of bodies and, if possible, paths."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    away = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    offsets = np.concatenate([(ring + size / 2) * away for ring in np.arange(1.4, 6.0, 0.4)])
    low, high = np.reshape(limits, (2, 2)).T + [[1], [-1]] * size / 2
    chosen = np.empty((0, 2))
    for point in points:
        places = np.clip(point + offsets, low, high)

        def hidden(things: np.ndarray, reach: np.ndarray, places: np.ndarray = places) -> np.ndarray:
            return (np.abs(places[:, None] - things) < reach).all(-1).sum(1)

        cost = np.hypot(*(places - point).T) + hidden(paths, size / 2)
        cost += 20 * hidden(bodies, size / 2) + 500 * hidden(chosen, size)
        chosen = np.vstack([chosen, places[cost.argmin()]])
    return chosen


def draw_track(axes: Axes, world: MarineNavEnv3, index: int, track: Track, steps: Sequence[int]) -> None:
    """Path up to the last of ``steps`` and the vessel exactly at each of them (Defect T18)."""
    colour = style.robot_colour(index)
    path = track.poses[: max(steps) + 1]
    axes.plot(path[:, 1], path[:, 0], color=colour, lw=1.8, zorder=5, path_effects=style.halo(3))
    for step in steps:
        x, y, yaw = track.poses[step]
        draw_vessel(axes, world.robots[index], (x, y, yaw), colour, zorder=8)
        arrow(axes, (y, x), (track.velocities[step][1], track.velocities[step][0]), style.INK, 9)


def draw_times(
    axes: Axes, world: MarineNavEnv3, tracks: Sequence[Track], steps: Sequence[int], limits: chart.Limits
) -> None:
    """Time of every vessel drawn, beside it."""
    drawn = [
        (index, track.poses[step], track.seconds[step])
        for index, track in enumerate(tracks)
        for step in steps
    ]
    bodies = [box(pose, world.robots[index].length, world.robots[index].width) for index, pose, _ in drawn]
    bodies += [box((*robot.goal, 0.0), 2.0, 2.0) for robot in world.robots]
    bodies += [box((disc.x, disc.y, 0.0), 2 * disc.r, 2 * disc.r) for disc in world.obstacles]
    bodies += [np.array([robot.start[::-1]]) for robot in world.robots]
    points = np.array([pose[[1, 0]] for _, pose, _ in drawn])
    paths = np.concatenate([track.poses[: max(steps) + 1, [1, 0]] for track in tracks])
    size = (limits[1] - limits[0]) * np.array(LABEL)
    places = clear_places(points, size, limits, np.concatenate(bodies), paths)
    for (index, _, seconds), place in zip(drawn, places, strict=True):
        look = {"color": style.robot_colour(index), "path_effects": style.halo(), "fontsize": 9}
        axes.text(*place, f"{seconds:.1f} s", ha="center", va="center", zorder=10, **look)


def trajectory_figure(world: MarineNavEnv3, tracks: Sequence[Track], steps: Sequence[int]) -> Figure:
    """Map with the tracks of all vessels, each drawn at the samples ``steps``."""
    figure = Figure(figsize=(7.5, 8.7), layout="constrained")
    axes = figure.subplots()
    limits = chart.map_limits(world, np.concatenate([track.poses[: max(steps) + 1] for track in tracks]))
    chart.draw_map(axes, world, limits)
    for index, (robot, track) in enumerate(zip(world.robots, tracks, strict=True)):
        chart.draw_start(axes, robot, index)
        chart.draw_goal(axes, robot, index)
        draw_track(axes, world, index, track, steps)
    draw_times(axes, world, tracks, steps, limits)
    axes.set_title("VRX trajectories")
    figure.supylabel("North (m)", fontsize=10)
    add_key(figure, [world], start=True)
    return figure
