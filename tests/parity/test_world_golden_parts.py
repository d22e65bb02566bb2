"""The parts of the NumPy world against recordings: field, dynamics, perception, and noise-free episodes."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.world import Core, Obstacle
from tests.parity.world_replay import (
    GOLDEN,
    INFOS,
    Change,
    action_list,
    assert_equal,
    count,
    deactivate_finished,
    look_record,
    next_sample,
    padded,
    read,
    unchanged,
    watch_colregs,
)

RobotChange = Callable[[Robot], None]


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch_colregs(monkeypatch)


def unchanged_robot(robot: Robot) -> None:
    """The robot as it is."""


# ---- field ----------------------------------------------------------------------------------------------


def check_field(k: int, strength: float = 1.0, radius: float = 1.0) -> None:
    data = read("env/field_vortex.npz")
    env = MarineNavEnv3()
    env.r = float(data[f"r_{k}"]) * radius
    env.cores[:] = [
        Core(x, y, int(clockwise), strength * Gamma) for x, y, clockwise, Gamma in data[f"cores_{k}"]
    ]
    velocity = [env.get_velocity(x, y) for x, y in data[f"points_{k}"]]
    assert_equal(velocity, data[f"velocity_{k}"], f"velocity_{k}", atol=1e-12)


@pytest.mark.parametrize("k", range(5))
def test_field(k: int) -> None:
    check_field(k)


@pytest.mark.parametrize("broken", [{"strength": 1 + 1e-9}, {"radius": 1 + 1e-6}], ids=str)
def test_broken_field_is_noticed(broken: dict[str, float]) -> None:
    with pytest.raises(AssertionError, match="velocity_1"):
        check_field(1, **broken)


def test_all_field_sets_are_covered() -> None:
    assert read("env/field_vortex.npz")["num_sets"] == 5


# ---- dynamics -------------------------------------------------------------------------------------------


def vessel(data: dict[str, np.ndarray], i: int) -> Robot:
    robot = Robot()
    for name, value in zip(data["param_names"], data["params"][i], strict=True):
        setattr(robot, str(name), float(value))
    robot.compute_constant_matrices()
    robot.x, robot.y, robot.theta = data["pose"][i].tolist()
    robot.velocity_r = data["velocity_r"][i].copy()
    robot.velocity = robot.velocity_r.copy()
    robot.left_thrust, robot.right_thrust = data["thrust"][i].tolist()
    robot.left_pos, robot.right_pos = data["thruster_angle"][i].tolist()
    return robot


def check_dynamics(change: RobotChange = unchanged_robot, every: int = 1) -> None:
    recorded = read("env/dynamics_step.npz")
    per_sample = set(recorded) - {"param_names", "action_table"}
    data = {key: value[::every] if key in per_sample else value for key, value in recorded.items()}
    paths, thrusts, energies = [], [], []
    for i, continuous in enumerate(data["is_continuous"]):
        robot = vessel(data, i)
        change(robot)
        action = data["action_continuous"][i] if continuous else int(data["action_discrete"][i])
        for s in range(10):
            robot.update_state(action, data["current"][i], s == 0, bool(continuous))
            paths.append([[robot.x, robot.y, robot.theta], robot.velocity_r, robot.velocity])
        thrusts.append([robot.left_thrust, robot.right_thrust])
        energies.append(robot.compute_step_energy_cost())
    by_sample = np.reshape(paths, (-1, 10, 3, 3))
    assert_equal(thrusts, data["out_thrust"], "out_thrust", 1e-10)
    for k, key in enumerate(("out_pose", "out_velocity_r", "out_velocity")):
        assert_equal(by_sample[:, :, k], data[key], key, 1e-10)
    assert_equal(energies, data["out_energy"], "out_energy", 1e-10)


def test_dynamics() -> None:
    check_dynamics()


def test_action_table() -> None:
    assert_equal(Robot().actions, read("env/dynamics_step.npz")["action_table"], "action_table", atol=0)


def test_whole_step_equals_its_sub_steps() -> None:
    data = read("env/dynamics_step.npz")
    for i in np.flatnonzero(data["is_continuous"])[:50]:
        robot, current = vessel(data, i), tuple(data["current"][i].tolist())
        robot.execute(data["action_continuous"][i], lambda x, y, current=current: current)
        assert_equal([robot.x, robot.y, robot.theta], data["out_pose"][i, -1], f"{i}: pose", 1e-10)
        assert_equal(robot.velocity_r, data["out_velocity_r"][i, -1], f"{i}: velocity_r", 1e-10)
        assert_equal(robot.velocity, data["out_velocity"][i, -1], f"{i}: velocity", 1e-10)


DYNAMIC_PARAMETERS = [str(name) for name in read("env/dynamics_step.npz")["param_names"]]


@pytest.mark.parametrize("name", [*DYNAMIC_PARAMETERS, "left_pos", "N"])
def test_broken_dynamics_are_noticed(name: str) -> None:
    """Each parameter counts, also those that are zero by default."""

    def change(robot: Robot) -> None:
        value = getattr(robot, name)
        setattr(robot, name, value + (1 if name == "N" else 1e-3 * max(abs(value), 0.1)))
        robot.compute_constant_matrices()

    with pytest.raises(AssertionError, match="out_"):
        check_dynamics(change, every=10)


# ---- perception -----------------------------------------------------------------------------------------


def scene(data: dict[str, np.ndarray], i: int) -> tuple[Robot, list[Obstacle], list[Robot]]:
    ego = Robot(int(data["perception_seed"][i]))
    ego.x, ego.y, ego.theta = data["ego_pose"][i].tolist()
    ego.velocity = data["ego_velocity"][i].copy()
    ego.left_thrust, ego.right_thrust = data["ego_thrust"][i].tolist()
    ego.goal, ego.r = data["ego_goal"][i].copy(), float(data["ego_r"][i])
    ego.collision, ego.reach_goal, ego.deactivated = data["ego_flags"][i].tolist()
    for name, value in zip(
        data["perception_param_names"], data["perception_params"][i].tolist(), strict=True
    ):
        setattr(ego.perception, str(name), int(value) if name == "max_obj_num" else value)
    obstacles = [Obstacle(*row) for row in data["obstacles"][i, : data["num_obstacles"][i]].tolist()]
    robots = []
    for j in range(data["num_robots"][i]):
        if j == data["ego_index"][i]:
            robots.append(ego)
            continue
        other = Robot()
        other.x, other.y, vx, vy, other.r = data["robots"][i, j].tolist()
        other.velocity = np.array([vx, vy, 0.0])
        other.deactivated = bool(data["robots_deactivated"][i, j])
        robots.append(other)
    return ego, obstacles, robots


def check_perception(change: RobotChange = unchanged_robot) -> None:
    data = read("env/perception_scenes.npz")
    for i in range(len(data["category"])):
        ego, obstacles, robots = scene(data, i)
        change(ego)
        observation, collision, reach_goal = ego.perception_output(obstacles, robots)
        shape = data["detected_obstacles"].shape[1], data["detected_robots"].shape[1]
        record = look_record(ego, observation, *shape)
        record.update(collision=collision, reach_goal=reach_goal)
        for key, value in record.items():
            assert_equal(value, data[key][i], f"scene {i}: {key}", 1e-10)
        assert_equal(next_sample(ego.perception.rd), data["rng_next"][i], f"scene {i}: stream", 0)


def test_perception() -> None:
    check_perception()


def change_attribute(owner: Callable[[Robot], Any], name: str, change: Callable[[Any], Any]) -> RobotChange:
    return lambda robot: setattr(owner(robot), name, change(getattr(owner(robot), name)))


def itself(robot: Robot) -> Robot:
    return robot


def its_perception(robot: Robot) -> Any:
    return robot.perception


BROKEN_PERCEPTION = {
    "range": change_attribute(its_perception, "range", lambda v: v + 2**-29),
    "angle": change_attribute(its_perception, "angle", lambda v: v - 1e-3),
    "number": change_attribute(its_perception, "max_obj_num", lambda v: v - 1),
    "position noise": change_attribute(its_perception, "pos_std", lambda v: v * (1 + 1e-6)),
    "velocity noise": change_attribute(its_perception, "vel_std", lambda v: v * (1 + 1e-6)),
    "radius noise": change_attribute(its_perception, "r_kappa", lambda v: v * (1 + 1e-6)),
    "radius ratio": change_attribute(its_perception, "r_mean_ratio", lambda v: v + 1e-6),
    "goal distance": change_attribute(itself, "goal_dis", lambda v: v + 2**-29),
    "own radius": change_attribute(itself, "r", lambda v: v - 2**-29),
    "head-on length": change_attribute(itself, "head_on_zone_x_dim", lambda v: v - 2**-29),
    "head-on width": change_attribute(itself, "head_on_zone_y_dim", lambda v: v - 2**-29),
    "crossing length": change_attribute(itself, "left_crossing_zone_x_dim", lambda v: v * 0.999),
    "crossing depth": change_attribute(itself, "left_crossing_zone_y_dim_front", lambda v: v * 0.999),
}


@pytest.mark.parametrize("change", BROKEN_PERCEPTION.values(), ids=BROKEN_PERCEPTION)
def test_broken_perception_is_noticed(change: RobotChange) -> None:
    with pytest.raises(AssertionError, match=r"scene \d+: "):
        check_perception(change)


# ---- noise-free episodes --------------------------------------------------------------------------------


def check_noise_free(k: int, change: Change = unchanged) -> None:
    configs = json.loads((GOLDEN / "noise_free" / "noise_free_configs.json").read_text())
    data = read("noise_free/noise_free.npz")
    prefix = f"{k:02d}_"
    case = {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
    env = MarineNavEnv3()
    observations, _, _ = env.reset_with_eval_config(configs[k])
    change(env)
    compare_look(env, observations, case, 0)
    for t, row in enumerate(case["action"]):
        assert_equal([not robot.deactivated for robot in env.robots], case["active"][t], f"step {t}: active")
        observations, rewards, dones, infos = env.step(action_list(row), row.dtype.kind == "f")
        assert_equal(rewards, case["reward"][t], f"step {t}: reward")
        assert_equal(dones, case["done"][t], f"step {t}: done")
        outcomes = [INFOS.index(info["state"]) for info in infos]
        assert_equal(outcomes, case["outcome"][t], f"step {t}: outcome")
        compare_look(env, observations, case, t + 1)
        deactivate_finished(env)


def compare_look(env: MarineNavEnv3, observations: list, case: dict[str, np.ndarray], t: int) -> None:
    states = [np.full(7, np.nan) if state is None else state for state, _ in observations]
    assert_equal(states, case["self_state"][t], f"step {t}: self_state")
    assert_equal([padded(o) for _, o in observations], case["objects_state"][t], f"step {t}: objects_state")
    assert_equal([count(o) for _, o in observations], case["objects_count"][t], f"step {t}: objects_count")
    poses = [
        [r.x, r.y, r.theta, *r.velocity_r, *r.velocity, r.left_thrust, r.right_thrust] for r in env.robots
    ]
    assert_equal(poses, case["pose"][t], f"step {t}: pose")
    colregs = [robot.apply_COLREGs for robot in env.robots]
    assert_equal(colregs, case["apply_colregs"][t], f"step {t}: apply_colregs")


@pytest.mark.parametrize("k", range(8))
def test_noise_free_episode(k: int) -> None:
    check_noise_free(k)


@pytest.mark.parametrize("k", range(8))
def test_broken_noise_free_episode_is_noticed(k: int) -> None:
    def change(env: MarineNavEnv3) -> None:
        env.timestep_penalty *= 1.0001

    with pytest.raises(AssertionError, match="step 0: reward"):
        check_noise_free(k, change)
