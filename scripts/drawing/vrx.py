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


@dataclass
class Track:
    """What one vessel did, in map coordinates.

    Attributes:
        seconds: (n,) time since its first sample.
        poses: (n, 3) x (North, m), y (East, m), yaw (rad).
        velocities: (n, 2) North and East (m/s).
    """

    seconds: np.ndarray
    poses: np.ndarray
    velocities: np.ndarray


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
    """Bring the samples of one vessel to the map.

    Args:
        world: The mirrored scenario.
        seconds: (n,) time stamps.
        poses: (n, 6) ``px, py, qx, qy, qz, qw`` in the VRX world.
        velocities: (n, 2) body frame, forward and port (m/s).
    """
    stamps = np.array(seconds, dtype=float)
    px, py, qx, qy, qz, qw = np.array(poses, dtype=float).reshape(len(stamps), 6).T
    forward, port = np.array(velocities, dtype=float).reshape(len(stamps), 2).T
    x = world.width / 2 - (px - CENTRE[0])
    y = world.height / 2 + (py - CENTRE[1])
    yaw = np.pi - np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy**2 + qz**2))
    north = np.cos(yaw) * forward + np.sin(yaw) * port
    east = np.sin(yaw) * forward - np.cos(yaw) * port
    return Track(stamps - stamps[0], np.stack([x, y, yaw], axis=1), np.stack([north, east], axis=1))


def read_experiment(folder: Path) -> tuple[MarineNavEnv3, list[Track]]:
    """Scenario and tracks of an experiment folder.

    Raises:
        InputError: A file is missing or does not hold what it should.
    """
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


def clear_side(pose: np.ndarray, crowd: np.ndarray) -> tuple[float, float]:
    """Where there is more room beside a vessel: port or starboard, a unit vector (East, North).

    Args:
        pose: (3,) x (m), y (m), yaw (rad) of the vessel.
        crowd: (n, 2) North and East (m) of everything else that is drawn; the vessel itself may be among it.
    """
    x, y, yaw = pose
    others = crowd[np.hypot(*(crowd - (x, y)).T) > 0.1]
    port = np.array([-np.cos(yaw), np.sin(yaw)])
    room = [np.hypot(*(others - (x, y) - 3 * side[::-1]).T).min(initial=np.inf) for side in (port, -port)]
    return tuple(port if room[0] >= room[1] else -port)


def draw_track(
    axes: Axes, world: MarineNavEnv3, index: int, track: Track, steps: Sequence[int], crowd: np.ndarray
) -> None:
    """Path up to the last of ``steps`` and the vessel exactly at each of them (Defect D18), with the time."""
    colour = style.robot_colour(index)
    path = track.poses[: max(steps) + 1]
    axes.plot(path[:, 1], path[:, 0], color=colour, lw=1.8, zorder=5, path_effects=style.halo(3))
    for step in steps:
        x, y, yaw = track.poses[step]
        draw_vessel(axes, world.robots[index], (x, y, yaw), colour, zorder=8)
        arrow(axes, (y, x), (track.velocities[step][1], track.velocities[step][0]), style.INK, 9)
        # Written away from the hull.
        east, north = clear_side(track.poses[step], crowd)
        axes.annotate(
            f"{track.seconds[step]:.1f} s",
            (y + 1.7 * east, x + 1.7 * north),
            ha="left" if east > 0.4 else "right" if east < -0.4 else "center",
            va="bottom" if north > 0.4 else "top" if north < -0.4 else "center",
            fontsize=9,
            color=colour,
            path_effects=style.halo(),
            zorder=10,
        )


def trajectory_figure(world: MarineNavEnv3, tracks: Sequence[Track], steps: Sequence[int]) -> Figure:
    """Map with the tracks of all vessels.

    Args:
        world: The mirrored scenario.
        tracks: One per robot of the scenario.
        steps: Sample indices at which the vessels are drawn, valid for every track.
    """
    figure = Figure(figsize=(7.5, 8.7), layout="constrained")
    axes = figure.subplots()
    points = np.concatenate([track.poses[: max(steps) + 1] for track in tracks])
    chart.draw_map(axes, world, chart.map_limits(world, points))
    goals = [robot.goal for robot in world.robots]
    crowd = np.concatenate([goals, *(track.poses[list(steps), :2] for track in tracks)])
    for index, (robot, track) in enumerate(zip(world.robots, tracks, strict=True)):
        chart.draw_start(axes, robot, index)
        chart.draw_goal(axes, robot, index)
        draw_track(axes, world, index, track, steps, crowd)
    axes.set_title("VRX trajectories")
    figure.supylabel("North (m)", fontsize=10)
    add_key(figure, [world], start=True)
    return figure
