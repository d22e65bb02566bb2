"""Recordings: what they accept, how an episode ended, which robot and which steps are shown."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from scripts.command_line import InputError
from scripts.drawing.episode import EpisodeView, shown_order
from scripts.drawing.recording import Recording, read_recording
from scripts.view_episode import animation_steps
from tests.unit.recordings import golden_episode


@pytest.fixture(scope="module")
def episode(golden: Path) -> dict:
    return golden_episode(golden)


@pytest.fixture
def recording(episode: dict, tmp_path: Path) -> Recording:
    return load(episode, tmp_path)


def load(episode: dict, folder: Path) -> Recording:
    path = folder / "episode.json"
    path.write_text(json.dumps(episode))
    return read_recording(path)


def test_episode_in_which_all_arrive(recording: Recording) -> None:
    assert recording.last_step == 86
    assert recording.summary() == "all robots arrived, 43.0 s"
    assert [recording.in_water(2, step) for step in (43, 44)] == [True, False]
    assert not any(map(recording.collided, range(3)))


def test_collision_is_found_from_the_last_positions(episode: dict, tmp_path: Path) -> None:
    episode = copy.deepcopy(episode)
    trajectory = episode["robots"]["trajectory"]
    trajectory[1] = trajectory[1][:20]
    trajectory[0] = trajectory[0][:20]
    trajectory[0][-1][:2] = np.add(trajectory[1][-1][:2], (0.0, 5.0)).tolist()
    recording = load(episode, tmp_path)
    assert [recording.collided(i) for i in range(3)] == [True, True, False]
    assert recording.summary().startswith("robots 0 and 1 collided")


def test_thrust_change_of_continuous_and_discrete_actions(recording: Recording) -> None:
    recording.actions[0][0] = [0.5, -0.25]
    recording.actions[1][0] = np.int64(17)
    assert recording.thrust_change(0, 0) == (500.0, -250.0)
    assert recording.thrust_change(1, 0) == (500.0, -1000.0)
    assert recording.thrust_change(2, 43) is None


def test_shown_robots_follow_the_length_of_their_trajectories(recording: Recording) -> None:
    assert shown_order(recording, []) == [0]
    assert shown_order(recording, [1, 2]) == [2, 1, 0]
    view = EpisodeView(recording, [2], arrows=False, width=400)
    assert [view.shown(step) for step in (0, 43, 44, 86)] == [2, 2, 0, 0]


@pytest.mark.parametrize(("last", "every"), [(86, None), (86, 10), (1001, None), (0, None)])
def test_last_step_is_always_shown(last: int, every: int | None) -> None:
    """Defect T19: the legacy player never showed the last row."""
    steps = animation_steps(last, every)
    assert (steps[0], steps[-1]) == (0, last)
    assert len(steps) <= 201
    assert len(set(steps)) == len(steps)


def test_frames_differ_only_where_something_moved(recording: Recording) -> None:
    view = EpisodeView(recording, arrows=False, width=400)
    first, again, last = view.frame(0), view.frame(0), view.frame(86)
    assert first.shape == (225, 400, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != last).any()


def test_drawing_leaves_world_and_recording_as_they_were(recording: Recording) -> None:
    """Defect T17, for the whole view: no pose, velocity, flag or generator of the world changes."""

    def state() -> list:
        robots = recording.world.robots
        return [
            *((robot.x, robot.y, robot.theta, robot.collision) for robot in robots),
            *((robot.velocity.tolist(), robot.velocity_r.tolist()) for robot in robots),
            *(robot.perception.rd.get_state()[2] for robot in robots),
            *(rows.tolist() for rows in recording.trajectories),
        ]

    before = state()
    view = EpisodeView(recording, width=400)
    view.frame(60)
    assert state() == before
    assert recording.world.episode_timesteps == 0


def test_vessels_off_the_map_stay_in_the_picture(episode: dict, tmp_path: Path) -> None:
    episode = copy.deepcopy(episode)
    episode["robots"]["trajectory"][0][30][:2] = [70.0, -12.0]
    view = EpisodeView(load(episode, tmp_path), arrows=False, width=400)
    assert view.map.get_xlim() == pytest.approx((-16.5, 56.5))
    assert view.map.get_ylim() == pytest.approx((0.0, 73.0))


BROKEN = {
    "a robot without trajectory": lambda e: e["robots"]["trajectory"].pop(),
    "an empty trajectory": lambda e: e["robots"]["trajectory"][0].clear(),
    "a short row": lambda e: e["robots"]["trajectory"][0].append([1.0, 2.0]),
    "words in a row": lambda e: e["robots"]["trajectory"][0][3].__setitem__(0, "north"),
    "too few observations": lambda e: e["robots"]["observation_history"][1].__delitem__(slice(9, None)),
    "an action out of range": lambda e: e["robots"]["action_history"][0].__setitem__(4, 25),
    "an observation of another kind": lambda e: e["robots"]["observation_history"][0].__setitem__(
        2, [None, None]
    ),
    "no histories": lambda e: e["robots"].pop("action_history"),
    "a missing key": lambda e: e["robots"].pop("goal"),
    "a start that is no point": lambda e: e["robots"]["start"].__setitem__(0, "here"),
    "a radius that is no number": lambda e: e["env"].__setitem__("r", None),
    "a width that is no number": lambda e: e["env"].__setitem__("width", "x"),
    "a speed range of one": lambda e: e["env"].__setitem__("v_range", [3]),
    "a sensor angle that is NaN": lambda e: e["robots"]["perception"]["angle"].__setitem__(0, float("nan")),
    "a time step of nothing": lambda e: e["robots"]["dt"].__setitem__(1, 0.0),
    "an unbounded thrust": lambda e: e["robots"]["min_thrust"].__setitem__(0, float("-inf")),
    "observations of nothing": lambda e: e["robots"]["observation_history"].__setitem__(0, None),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_unusable_recordings_are_refused_by_name(kind: str, episode: dict, tmp_path: Path) -> None:
    episode = copy.deepcopy(episode)
    BROKEN[kind](episode)
    with pytest.raises(InputError, match=r"episode\.json") as refusal:
        load(episode, tmp_path)
    assert "\n" not in str(refusal.value)
