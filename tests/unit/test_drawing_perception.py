"""COLREGs duty and zones as drawn, against the recorded states of the legacy environment."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline

from marinenav_env.envs.reference.robot import Robot
from scripts.drawing.perception import arrow, colregs_duty, probe_of, to_body, zones

ZONES = {0: None, 1: "Head-on", 2: "Crossing"}


@pytest.fixture(scope="module")
def recorded(golden) -> dict[str, np.ndarray]:
    with np.load(golden / "env/eval_episode_01.npz") as data:
        return {key: data[key] for key in data.files}


def test_duty_equals_the_recorded_state_at_every_step(recorded) -> None:
    applied = 0
    for t, i in np.ndindex(recorded["apply_colregs"].shape):
        count = recorded["obs_count"][t, i]
        if count < 0:
            continue
        objects = recorded["obs_objects"][t, i, :count].tolist()
        duty = colregs_duty(Robot(), recorded["obs_self"][t, i].tolist(), objects)
        assert (duty is not None) == recorded["apply_colregs"][t, i]
        if duty:
            applied += 1
            assert duty.turn == pytest.approx(recorded["phi"][t, i], abs=1e-9)
            assert duty.target == recorded["colregs_row"][t, i]
    assert applied == recorded["apply_colregs"].sum() > 0


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        ([12, 1, -1.5, 0.1, 2.4], "head-on, turn 35° to starboard"),
        ([8, 7, -0.2, -1.4, 2.3], "crossing, turn 67° to starboard"),
    ],
)
def test_duty_in_words(seen: list[float], text: str) -> None:
    # Rows of environment spec 15.8.
    own = [0.0, 0.0, 2.0, 0.0] if "head-on" in text else [0.0, 0.0, 1.5, 0.2]
    assert str(colregs_duty(Robot(), [*own, 0.0, 0.0, 0.0], [seen])) == text


def test_slow_objects_give_no_duty() -> None:
    assert colregs_duty(Robot(), [0, 0, 2.0, 0.0, 0, 0, 0], [[12, 1, -0.3, 0.1, 2.4]]) is None


def test_zone_outlines_hold_exactly_the_places_the_rules_accept() -> None:
    """Points around a target are inside the drawn outline if and only if the rule's zone test says so."""
    rng = np.random.default_rng(0)
    robot = Robot()
    inside = {"Head-on": 0, "Crossing": 0}
    for _ in range(500):
        seen = [*rng.uniform(-15, 15, 2), *rng.uniform(-2, 2, 2), 2.0]
        course = np.arctan2(seen[3], seen[2])
        outlines = zones(robot, seen)
        for zone, relative in (("Head-on", np.pi), ("Crossing", np.pi / 2)):
            # A velocity in the middle of the zone's range of courses leaves only its shape to decide.
            velocity = [np.cos(course + relative), np.sin(course + relative)]
            probe = probe_of(robot, [0, 0, *velocity])
            test = probe.check_in_head_on_zone if zone == "Head-on" else probe.check_in_left_crossing_zone
            expected = test(*probe.project_ego_to_vehicle_frame(seen))
            assert Outline(outlines[zone]).contains_point((0.0, 0.0)) == expected
            inside[zone] += expected
    assert min(inside.values()) > 10


def test_body_frame_of_a_vessel_heading_east() -> None:
    row = np.array([10.0, 20.0, np.pi / 2])
    np.testing.assert_allclose(to_body(row, 10.0, 25.0), (5.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(to_body(row, 7.0, 20.0), (0.0, 3.0), atol=1e-12)


def test_arrow_leaves_the_velocity_alone_and_skips_a_standstill() -> None:
    """Defect T17: the legacy viewer scaled the robot's velocity in place, to NaN at zero speed."""
    axes = Figure().add_subplot()
    velocity = np.array([0.4, 0.3])
    arrow(axes, (0.0, 0.0), velocity, "k", 1)
    arrow(axes, (0.0, 0.0), np.zeros(2), "k", 1)
    assert velocity.tolist() == [0.4, 0.3]
    assert len(axes.patches) == 1
