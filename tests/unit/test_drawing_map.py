"""Maps: North up, limits, current, sheets of any number, VRX coordinates."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from marinenav_env.envs import MarineNavEnv3
from scripts.drawing import map as chart
from scripts.drawing.episodes import read_episodes, world_of
from scripts.drawing.scenario import behind, caption, sheet
from scripts.drawing.vrx import CENTRE, Track, mirrored, to_map, trajectory_figure


@pytest.fixture(scope="module")
def world(golden: Path) -> MarineNavEnv3:
    path = golden / "env/eval_episode_01.json"
    return world_of(read_episodes(path)[0], str(path))


def test_goal_is_drawn_east_to_the_right_and_north_up(world: MarineNavEnv3) -> None:
    axes = Figure().add_subplot()
    chart.draw_goal(axes, world.robots[0], 0)
    x, y = world.robots[0].goal
    assert axes.get_lines()[0].get_xydata().tolist() == [[y, x]]
    assert axes.patches[0].radius == 2.0


def test_flow_on_a_grid_is_the_worlds_current(world: MarineNavEnv3) -> None:
    x, y = chart.grid((0.0, 55.0, 0.0, 50.0), 4)
    assert (x[1, 0], y[1, 0], x[0, 1], y[0, 1]) == (50 / 3, 0.0, 0.0, 55 / 3)
    north, east = chart.flow(world, x, y)
    np.testing.assert_array_equal([north[2, 1], east[2, 1]], world.get_velocity(x[2, 1], y[2, 1])[:2])


def test_arrows_point_along_the_current(world: MarineNavEnv3) -> None:
    axes = Figure().add_subplot()
    chart.draw_arrows(axes, world, (0.0, 55.0, 0.0, 55.0), 11)
    arrows = axes.collections[0]
    for (east, north), u, v in zip(arrows.get_offsets(), arrows.U, arrows.V, strict=True):
        current = world.get_velocity(north, east)
        assert u * current[0] == pytest.approx(v * current[1], abs=1e-9)
        assert u * current[1] + v * current[0] > 0


def test_limits_hold_the_map_and_whoever_leaves_it(world: MarineNavEnv3) -> None:
    assert chart.map_limits(world) == (0.0, 55.0, 0.0, 55.0)
    assert chart.map_limits(world, [(60.0, 10.0), (20.0, -4.0)]) == (-7.0, 55.0, 0.0, 63.0)


def test_runaways_widen_the_map_by_a_third_and_are_pointed_at(world: MarineNavEnv3) -> None:
    limits = chart.map_limits(world, [(20.0, 900.0)])
    assert limits == (0.0, pytest.approx(220 / 3), 0.0, 55.0)
    axes = Figure().add_subplot()
    assert not chart.draw_beyond(axes, limits, 0, (20.0, 70.0))
    assert not axes.get_lines()
    assert chart.draw_beyond(axes, limits, 1, (20.0, 900.0))
    assert axes.texts[0].get_text() == "1: 827 m off"
    assert axes.get_lines()[0].get_xydata()[0] == pytest.approx((220 / 3 * 0.985, 20.0))
    assert chart.squared(limits) == pytest.approx((0.0, 220 / 3, 27.5 - 110 / 3, 27.5 + 110 / 3))


def test_extent_along_x_is_vertical_on_a_map_that_is_not_square() -> None:
    world = MarineNavEnv3()
    world.width, world.height = 80, 40
    assert chart.map_limits(world) == (0.0, 40.0, 0.0, 80.0)


@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(1, None, 1), (2, None, 2), (6, None, 6), (7, None, 9), (9, 4, 12)]
)
def test_any_number_of_scenarios_fits_on_a_sheet(count: int, columns: int | None, shape: int) -> None:
    """Defect T16: multiples of three failed."""
    world = MarineNavEnv3(seed=1)
    world.num_robots, world.num_cores, world.num_obs = 1, 0, 1
    world.reset()
    figure = sheet([world] * count, [f"map {k}" for k in range(count)], columns)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == count
    assert len(figure.axes) == shape
    assert panels[-1].get_title(loc="left") == f"map {count - 1}"
    assert caption(world) == "1 robot, 1 obstacle"


def test_number_beside_a_start_keeps_off_the_course_and_on_the_map() -> None:
    limits = (0.0, 55.0, 0.0, 55.0)
    assert behind((20.0, 20.0), (50.0, 20.0), limits).tolist() == [16.0, 20.0]
    assert behind((2.0, 20.0), (50.0, 20.0), limits).tolist() == [1.2, 20.0]


def vrx_samples(poses: np.ndarray, velocities: np.ndarray) -> tuple[list, list, list]:
    """What VRX records for a track in map coordinates of the original, unmirrored scenario."""
    x, y, angle = poses.T
    px, py = x - 27.5 + CENTRE[0], y - 27.5 + CENTRE[1]
    zero = np.zeros_like(x)
    quaternions = np.stack([px, py, zero, zero, np.sin(angle / 2), np.cos(angle / 2)], axis=1)
    return [100.0 + k / 4 for k in range(len(x))], quaternions.tolist(), velocities.tolist()


@pytest.fixture
def vrx_track(world: MarineNavEnv3) -> Track:
    poses = np.array([[10.0, 20.0, 0.0], [12.0, 20.0, 0.3], [14.0, 21.0, np.pi / 2]])
    return to_map(world, *vrx_samples(poses, np.array([[2.0, 0.0], [2.0, 0.1], [2.0, 0.5]])))


def test_vrx_poses_land_on_the_mirrored_map(vrx_track: Track) -> None:
    np.testing.assert_allclose(vrx_track.seconds, [0.0, 0.25, 0.5])
    np.testing.assert_allclose(vrx_track.poses[:, :2], [[45.0, 20.0], [43.0, 20.0], [41.0, 21.0]])
    # Towards rising VRX x is towards falling map x, that is, heading south.
    np.testing.assert_allclose(vrx_track.poses[0, 2], np.pi)
    np.testing.assert_allclose(vrx_track.velocities[0], [-2.0, 0.0], atol=1e-12)
    # Heading east with half a metre per second to port, that is, north.
    np.testing.assert_allclose(vrx_track.poses[2, 2], np.pi / 2)
    np.testing.assert_allclose(vrx_track.velocities[2], [0.5, 2.0], atol=1e-12)


def test_vrx_scenario_is_mirrored_in_a_copy(golden: Path) -> None:
    original = json.loads((golden / "env/eval_episode_01.json").read_text())
    kept = json.dumps(original)
    mirror = mirrored(original)
    assert json.dumps(original) == kept
    for key in ("start", "goal"):
        for (x, y), (mirror_x, mirror_y) in zip(original["robots"][key], mirror["robots"][key], strict=True):
            assert (mirror_x, mirror_y) == (55 - x, y)
    assert mirror["env"]["cores"]["positions"] == []


def test_vrx_vessels_are_drawn_at_the_samples_asked_for(vrx_track: Track) -> None:
    """Defect T18: the legacy figure kept the drawing of the sample before."""
    world = MarineNavEnv3(seed=0)
    world.num_robots, world.num_cores, world.num_obs = 1, 0, 0
    world.reset()
    figure = trajectory_figure(world, [vrx_track], [1, 2])
    axes = figure.axes[0]
    vessels = [c for c in axes.collections if len(c.get_paths()) == 13]
    centres = [
        np.mean([path.vertices[:-1].mean(axis=0) for path in v.get_paths()[-1:]], axis=0) for v in vessels
    ]
    np.testing.assert_allclose(centres, vrx_track.poses[1:3, [1, 0]], atol=1e-9)
    assert {"0.2 s", "0.5 s"} <= {text.get_text() for text in axes.texts}
    path = max(axes.get_lines(), key=lambda line: len(line.get_xdata()))
    assert path.get_xydata()[-1].tolist() == pytest.approx([21.0, 41.0])


def test_times_beside_vessels_in_a_crowd_do_not_overlap() -> None:
    world = MarineNavEnv3(seed=0)
    world.num_robots, world.num_cores, world.num_obs = 5, 0, 0
    world.reset()
    centre, seconds = np.array([27.0, 27.0]), np.arange(3.0)
    tracks = []
    for angle in np.arange(5) * 2 * np.pi / 5:
        ahead = np.array([np.cos(angle), np.sin(angle)])
        poses = np.column_stack([centre + np.outer([-4.0, 0.0, 4.0], ahead), np.full(3, angle)])
        tracks.append(Track(seconds, poses, np.tile(ahead, (3, 1))))
    figure = trajectory_figure(world, tracks, [0, 1, 2])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().endswith(" s")]
    assert len(boxes) == 15
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
