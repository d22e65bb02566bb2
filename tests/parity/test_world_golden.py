"""The NumPy world against the recorded episodes and evaluation configurations."""

import json
from typing import Any

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from tests.parity.world_replay import (
    GOLDEN,
    Change,
    Replay,
    action_list,
    assert_equal,
    count,
    deactivate_finished,
    padded,
    read,
    unchanged,
    watch_colregs,
)

EPISODES = sorted(path.stem for path in (GOLDEN / "env").glob("*_[0-9][0-9]*.npz"))
SOURCED = ["eval_config_01", "eval_episode_01"]


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch_colregs(monkeypatch)


def change_robots(**values: Any) -> Change:
    def change(env: MarineNavEnv3) -> None:
        for robot in env.robots:
            for key, value in values.items():
                setattr(robot, key, value)
            robot.compute_constant_matrices()

    return change


def change_perception(**values: Any) -> Change:
    def change(env: MarineNavEnv3) -> None:
        for robot in env.robots:
            for key, value in values.items():
                setattr(robot.perception, key, value)

    return change


def change_env(**values: Any) -> Change:
    def change(env: MarineNavEnv3) -> None:
        for key, value in values.items():
            setattr(env, key, value)

    return change


def weaken_vortices(env: MarineNavEnv3) -> None:
    for core in env.cores:
        core.Gamma *= 0.9999


BROKEN = {
    "mass": change_robots(m=400.01),
    "thrust limit": change_robots(max_thrust=999.0),
    "goal distance": change_robots(goal_dis=2.5),
    "hull radius": change_robots(r=2.8),
    "vortex strength": weaken_vortices,
    "position noise": change_perception(pos_std=0.0501),
    "velocity noise": change_perception(vel_std=0.0501),
    "radius noise": change_perception(r_kappa=1.01),
    "sensor range": change_perception(range=19.0),
    "time penalty": change_env(timestep_penalty=-0.1001),
    "COLREGs penalty": change_env(COLREGs_penalty=-0.1001),
    "collision penalty": change_env(collision_penalty=-5.01),
    "goal reward": change_env(goal_reward=10.01),
}


@pytest.mark.parametrize("name", EPISODES)
def test_episode(name: str) -> None:
    Replay(name).run()


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_broken_world_is_noticed(change: Change) -> None:
    with pytest.raises(AssertionError, match=r"step \d+: "):
        Replay("rollout_02_cont_r5_c4_o4", change).run()


def test_broken_seed_bound_is_noticed() -> None:
    replay = Replay("eval_config_01")
    requested, replay.env.num_robots = replay.env.num_robots, 3
    replay.reset()
    replay.env.num_robots = requested
    with pytest.raises(AssertionError, match="perception_seed"):
        replay.compare_reset()


@pytest.mark.parametrize("name", SOURCED)
def test_episode_data_gives_the_recorded_file(name: str) -> None:
    expected = json.loads((GOLDEN / "env" / f"{name}.json").read_text())
    source = json.loads(str(read(f"env/{name}.npz")["config_json"]))["source"]
    env = MarineNavEnv3(seed=source["ctor_seed"], is_eval_env=source["is_eval_env"])
    change_env(**source["attributes"])(env)
    for _ in range(source["resets"]):
        env.reset()
    actual = json.loads(json.dumps(env.episode_data()))
    for group in ("env", "robots"):
        assert list(actual[group]) == list(expected[group])
    for key in ("observation_history", "trajectory"):
        for ours, theirs in zip(actual["robots"].pop(key), expected["robots"].pop(key), strict=True):
            assert_nested_close(ours, theirs)
    assert actual == expected


def assert_nested_close(actual: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for ours, theirs in zip(actual, expected, strict=True):
            assert_nested_close(ours, theirs)
    elif expected is None:
        assert actual is None
    else:
        assert actual == pytest.approx(expected, rel=0, abs=1e-9)


def test_histories_and_totals_of_an_evaluation_episode() -> None:
    replay = Replay("eval_episode_01")
    replay.reset()
    env, data = replay.env, replay.data
    energy, time = np.zeros(len(env.robots)), np.zeros(len(env.robots))
    for row in data["actions"]:
        env.step(action_list(row))
        for i, robot in enumerate(env.robots):
            if not robot.deactivated:
                energy[i] += robot.compute_step_energy_cost()
                time[i] += robot.dt * robot.N
        deactivate_finished(env)
    assert_equal(energy, data["energy_total"], "energy_total")
    assert_equal(time, data["time_total"], "time_total")
    assert env.check_all_reach_goal() == data["success"]
    histories = env.episode_data()["robots"]
    for i in range(len(env.robots)):
        compare_histories({key: value[i] for key, value in histories.items() if key != "perception"}, data, i)


def compare_histories(robot: dict[str, Any], data: dict[str, np.ndarray], i: int) -> None:
    looks, actions, rows = robot["observation_history"], robot["action_history"], robot["trajectory"]
    assert (len(looks), len(actions), len(rows)) == (
        data["hist_observation_len"][i],
        data["hist_action_len"][i],
        data["hist_trajectory_len"][i],
    )
    blind = np.full(7, np.nan)
    states = [blind if state is None else state for state, _ in looks]
    assert_equal(states, data["hist_observation_self"][i], "hist_observation_self")
    assert_equal(
        [padded(o) for _, o in looks], data["hist_observation_objects"][i], "hist_observation_objects"
    )
    assert_equal([count(o) for _, o in looks], data["hist_observation_count"][i], "hist_observation_count")
    assert_equal(actions, data["hist_action"][i, : len(actions)], "hist_action", atol=0)
    assert_equal(rows, data["hist_trajectory"][i, : len(rows)], "hist_trajectory")


# ---- consecutive resets ---------------------------------------------------------------------------------


def check_curriculum(change: Change = unchanged) -> None:
    data = read("env/reset_curriculum.npz")
    keys = ("timesteps", "num_robots", "num_cores", "num_obstacles", "min_start_goal_dis")
    schedule = {key: data[f"schedule_{key}"].tolist() for key in keys}
    env = MarineNavEnv3(int(data["ctor_seed"]), schedule)
    assert [robot.perception.seed for robot in env.robots] == data["ctor_perception_seed"].tolist()
    assert np.random.RandomState.random_sample(copy_stream(env)) == data["ctor_rng_next"]
    change(env)
    for i, total in enumerate(data["total_timesteps"]):
        env.total_timesteps = int(total)
        env.reset()
        compare_scenario(env, data, i)
    _, key, pos, *_ = env.rd.get_state()
    assert_equal(key, data["rng_key_end"], "rng_key_end")
    assert_equal(pos, data["rng_pos_end"], "rng_pos_end")


def copy_stream(env: MarineNavEnv3) -> np.random.RandomState:
    stream = np.random.RandomState()
    stream.set_state(env.rd.get_state())
    return stream


def compare_scenario(env: MarineNavEnv3, data: dict[str, np.ndarray], i: int) -> None:
    robots, cores, obstacles = env.robots, env.cores, env.obstacles
    found = {
        "requested": [env.num_robots, env.num_cores, env.num_obs],
        "min_start_goal_dis": env.min_start_goal_dis,
        "count": [len(robots), len(cores), len(obstacles)],
        "rng_next": copy_stream(env).random_sample(),
    }
    for key, value in found.items():
        assert_equal(value, data[key][i], f"reset {i}: {key}", atol=0)
    rows = {
        "start": [robot.start for robot in robots],
        "goal": [robot.goal for robot in robots],
        "init_theta": [robot.init_theta for robot in robots],
        "perception_seed": [robot.perception.seed for robot in robots],
        "cores": [[c.x, c.y, c.clockwise, c.Gamma] for c in cores],
        "obstacles": [[o.x, o.y, o.r] for o in obstacles],
    }
    for key, value in rows.items():
        expected = data[key][i, : len(value)]
        assert_equal(np.reshape(value, expected.shape), expected, f"reset {i}: {key}", atol=0)


def test_curriculum(capsys: pytest.CaptureFixture[str]) -> None:
    check_curriculum()
    assert "training schedule" in capsys.readouterr().out


BROKEN_GENERATION = {
    "clearance": change_env(clear_r=10.5),
    "core radius": change_env(r=0.55),
    "same-spin distance": change_env(v_rel_max=0.9),
    "opposite-spin distance": change_env(p=0.7),
    "obstacle radius": change_env(obs_r_range=[1, 1.1]),
    "map": change_env(width=55.1),
}


@pytest.mark.parametrize("change", BROKEN_GENERATION.values(), ids=BROKEN_GENERATION)
def test_broken_generation_is_noticed(change: Change) -> None:
    with pytest.raises(AssertionError, match=r"reset \d+: "):
        check_curriculum(change)
