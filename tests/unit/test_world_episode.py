"""Episode dictionaries: written, read, validated, reloaded (environment spec 13)."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.episode import read_episodes, validate_episode, write_episode


@pytest.fixture
def env() -> MarineNavEnv3:
    env = MarineNavEnv3(seed=5, is_eval_env=True)
    env.num_robots, env.num_cores, env.num_obs = 3, 2, 2
    env.reset()
    return env


def test_file_round_trip(env: MarineNavEnv3, tmp_path: Path) -> None:
    env.step([[0.3, 0.1]] * 3)
    path = tmp_path / "episode.json"
    env.save_episode(path)
    assert read_episodes(path) == [env.episode_data()]
    assert list(tmp_path.iterdir()) == [path]


def test_a_set_of_episodes(env: MarineNavEnv3, tmp_path: Path) -> None:
    episodes = [env.episode_data()]
    env.reset()
    episodes.append(env.episode_data())
    write_episode(episodes, tmp_path / "set.json")
    assert read_episodes(tmp_path / "set.json") == episodes


def test_numpy_actions_cannot_be_saved(env: MarineNavEnv3, tmp_path: Path) -> None:
    """Quirk W24; a file that was there stays as it was."""
    path = tmp_path / "episode.json"
    env.save_episode(path)
    before = path.read_text()
    env.step([np.int64(3)] * 3, is_continuous_action=False)
    with pytest.raises(TypeError):
        env.save_episode(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_data_are_copies(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    data["env"]["v_range"][0] = 99
    data["robots"]["trajectory"][0][0][0] = 99.0
    assert env.v_range == [3, 3]
    assert env.robots[0].trajectory[0][0] != 99.0
    env.reset_with_eval_config(data)
    data["env"]["v_range"][0] = 77
    assert env.v_range == [99, 3]


def test_reload_gives_the_same_motion(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    twin = MarineNavEnv3(seed=99, is_eval_env=False)
    twin.reset_with_eval_config(json.loads(json.dumps(data)))
    assert (twin.seed, twin.is_eval_env) == (5, True)
    for _ in range(5):
        env.step([[0.3, 0.1]] * 3)
        twin.step([[0.3, 0.1]] * 3)
    for ours, theirs in zip(env.robots, twin.robots, strict=True):
        assert (ours.x, ours.y, ours.theta) == (theirs.x, theirs.y, theirs.theta)


def test_reload_restores_parameters(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    data["env"].update(width=60, goal_reward=12.0)
    data["robots"]["m"][1] = 410
    data["robots"]["left_thrust_change"][1] = [0, 100]
    data["robots"]["init_velocity_r"][1] = [1, 0, 0]
    data["robots"]["perception"]["max_obj_num"][1] = 2
    env.reset_with_eval_config(data)
    robot = env.robots[1]
    assert (env.width, env.goal_reward) == (60, 12.0)
    assert robot.M_RB[0, 0] == 410
    assert robot.compute_actions_dimension() == 10
    assert robot.velocity_r.tolist() == [1.0, 0.0, 0.0]
    assert robot.perception.max_obj_num == 2


def test_reload_keeps_what_is_not_in_the_file(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    other = MarineNavEnv3(seed=1)
    other.num_robots, other.min_start_goal_dis, other.total_timesteps, other.episode_timesteps = (
        4,
        20.0,
        77,
        9,
    )
    other.reset_with_eval_config(data)
    kept = other.num_robots, other.num_cores, other.num_obs, other.min_start_goal_dis, other.total_timesteps
    assert kept == (4, 8, 8, 20.0, 77)
    assert other.episode_timesteps == 0
    assert len(other.robots) == 3


def test_stale_number_of_robots(env: MarineNavEnv3) -> None:
    """Quirk W27."""
    other = MarineNavEnv3(seed=1)
    other.reset_with_eval_config(env.episode_data())
    data = other.episode_data()
    assert data["env"]["num_robots"] == 6
    with pytest.raises(IndexError, match=r"robots\.dt has 3 entries; 6 are needed"):
        other.reset_with_eval_config(data)
    data["env"]["num_robots"] = 2
    other.reset_with_eval_config(data)
    assert len(other.robots) == 2


def without(data: dict[str, Any], *path: str) -> dict[str, Any]:
    data = copy.deepcopy(data)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return data


@pytest.mark.parametrize(
    "path",
    [
        ("env",),
        ("robots",),
        ("env", "goal_reward"),
        ("env", "num_robots"),
        ("env", "cores"),
        ("env", "cores", "Gamma"),
        ("env", "obstacles", "r"),
        ("robots", "start"),
        ("robots", "nVR"),
        ("robots", "perception"),
        ("robots", "perception", "pos_std"),
    ],
)
def test_missing_key(env: MarineNavEnv3, path: tuple[str, ...]) -> None:
    data = without(env.episode_data(), *path)
    robots = list(env.robots)
    with pytest.raises(KeyError, match=rf"{'[.]'.join(path)} is missing"):
        env.reset_with_eval_config(data)
    assert env.robots == robots


def test_histories_are_not_needed(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    for key in ("observation_history", "action_history", "trajectory"):
        data = without(data, "robots", key)
    env.reset_with_eval_config(data)


@pytest.mark.parametrize(
    ("path", "key"), [(("env", "cores"), "Gamma"), (("env", "obstacles"), "r"), (("robots",), "goal")]
)
def test_short_list(env: MarineNavEnv3, path: tuple[str, ...], key: str) -> None:
    data = env.episode_data()
    inner: Any = data
    for part in path:
        inner = inner[part]
    inner[key].pop()
    with pytest.raises(IndexError, match=rf"{key} has \d entries; \d are needed"):
        env.reset_with_eval_config(data)


def test_negative_deviation(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    data["robots"]["perception"]["vel_std"][2] = -0.1
    with pytest.raises(ValueError, match=r"perception\.vel_std is -0\.1; at least 0 is allowed"):
        validate_episode(data)


def test_deviations_of_robots_that_are_not_there_are_not_read(env: MarineNavEnv3) -> None:
    data = env.episode_data()
    data["env"]["num_robots"] = 1
    data["robots"]["perception"]["pos_std"][1] = -1.0
    validate_episode(data)


@pytest.mark.parametrize("text", ["3", "[1, 2]", "{", '{"env": {}'])
def test_files_that_hold_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "episode.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        read_episodes(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_episodes(tmp_path / "none.json")
