"""The WAM-V shape against the corners of environment spec 18."""

import numpy as np
import pytest

from marinenav_env.envs.reference.robot import Robot
from scripts.drawing.vessel import catamaran, on_map, paint, thruster

LEFT_HULL = {
    "port hull tip": [(-1.25, 1.25), (-1.125, 2.5), (-0.875, 2.5), (-0.75, 1.25)],
    "port hull middle": [(-1.25, -0.9), (-1.25, 1.25), (-0.75, 1.25), (-0.75, -0.9)],
    "port hull rear": [(-1.2, -1.9), (-1.25, -0.9), (-0.75, -0.9), (-0.8, -1.9)],
    "port thruster": [(-1.12, -2.5), (-1.15, -2.0), (-0.85, -2.0), (-0.88, -2.5)],
    "port beam base": [(-1.125, -1.25), (-1.125, 1.25), (-0.875, 1.25), (-0.875, -1.25)],
    "rear beam": [(-1.0, -0.8), (-1.0, -0.7), (1.0, -0.7), (1.0, -0.8)],
    "platform": [(-0.5625, -1.0), (-0.5625, 1.0), (0.5625, 1.0), (0.5625, -1.0)],
}


@pytest.mark.parametrize("part", LEFT_HULL)
def test_parts_have_the_corners_of_the_specification(part: str) -> None:
    np.testing.assert_allclose(catamaran(Robot())[part], LEFT_HULL[part], atol=1e-12)


def test_starboard_hull_is_the_port_hull_shifted_and_the_front_beam_the_rear_one() -> None:
    parts = catamaran(Robot())
    for part in ("hull tip", "hull middle", "hull rear", "thruster", "beam base"):
        np.testing.assert_allclose(parts[f"starboard {part}"], parts[f"port {part}"] + (2.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(parts["front beam"], parts["rear beam"] + (0.0, 1.5), atol=1e-12)


def test_shape_scales_with_the_robots_own_dimensions() -> None:
    robot = Robot()
    robot.platform_length = 4.0
    assert np.ptp(catamaran(robot)["platform"][:, 1]) == 4.0


def test_thruster_turns_clockwise_about_its_front_end() -> None:
    straight, turned = (thruster(Robot(), -1, angle) for angle in (0.0, np.pi / 2))
    # A quarter turn clockwise brings the tail, which was astern, to port.
    np.testing.assert_allclose(turned[:, 1].min(), -2.15, atol=1e-12)
    np.testing.assert_allclose(turned[:, 0].min(), -1.5, atol=1e-12)
    np.testing.assert_allclose(straight[1:3].mean(axis=0), turned[1:3].mean(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("theta", "bow"), [(0.0, (20.0, 12.5)), (np.pi / 2, (22.5, 10.0)), (np.pi, (20.0, 7.5))]
)
def test_north_is_up_and_yaw_turns_clockwise(theta: float, bow: tuple[float, float]) -> None:
    np.testing.assert_allclose(on_map(np.array([[0.0, 2.5]]), 10.0, 20.0, theta)[0], bow, atol=1e-12)


def test_starboard_lies_to_the_right_of_the_bow() -> None:
    np.testing.assert_allclose(
        on_map(np.array([[1.0, 0.0]]), 0.0, 0.0, np.pi / 2)[0], (0.0, -1.0), atol=1e-12
    )


def test_platform_is_paler_than_the_hull() -> None:
    assert sum(paint("platform", "#0072B2")) > sum(paint("port hull tip", "#0072B2"))
