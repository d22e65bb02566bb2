"""Replays recorded episodes through the public face of the NumPy world and compares every array."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.reference.robot import Robot

GOLDEN = Path(__file__).parents[1] / "golden"
SLOTS = 5
INFOS = (
    "normal",
    "collision",
    "reach goal",
    "deactivated after collision",
    "deactivated after reaching goal",
    "too long episode",
)
Change = Callable[[MarineNavEnv3], None]


def unchanged(env: MarineNavEnv3) -> None:
    """The world as it is; a broken twin hands in another change."""


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name, allow_pickle=False) as data:
        return dict(data)


def assert_equal(actual: Any, expected: np.ndarray, what: str, atol: float = 1e-9) -> None:
    """Floats within `atol`, NaN equal to NaN; everything else exactly."""
    if np.asarray(expected).dtype.kind == "f":
        actual = np.asarray(actual, dtype=float)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, err_msg=what)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=what)


def next_sample(rd: np.random.RandomState) -> float:
    """What a stream would give next, without consuming it."""
    return copy.deepcopy(rd).random_sample()


def watch_colregs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every robot note the zone and the object its COLREGs test examined last in a look."""
    look, turn = Robot.perception_output, Robot.compute_COLREGs_turn_angle

    def noting_look(robot: Robot, *args: Any) -> Any:
        robot.noted_zone, robot.noted_obj = 0, None
        return look(robot, *args)

    def noting_turn(robot: Robot, obj: list[float]) -> None:
        robot.noted_obj = list(obj)
        turn(robot, obj)

    def noting_zone(test: Callable[..., bool], zone: int) -> Callable[..., bool]:
        def noting(robot: Robot, position: Any, velocity: Any) -> bool:
            found = test(robot, position, velocity)
            if found:
                robot.noted_zone = zone
            return found

        return noting

    monkeypatch.setattr(Robot, "perception_output", noting_look)
    monkeypatch.setattr(Robot, "compute_COLREGs_turn_angle", noting_turn)
    for zone, name in ((1, "check_in_head_on_zone"), (2, "check_in_left_crossing_zone")):
        monkeypatch.setattr(Robot, name, noting_zone(getattr(Robot, name), zone))


def padded(objects: list[list[float]] | None) -> np.ndarray:
    rows = np.full((SLOTS, 5), np.nan)
    if objects:
        rows[: len(objects)] = objects
    return rows


def count(objects: list[list[float]] | None) -> int:
    return -1 if objects is None else len(objects)


def object_ids(robot: Robot, objects: list[list[float]] | None) -> np.ndarray:
    """Obstacle i as i, robot j as 100 + j, an empty slot as -1."""
    ids = np.full(SLOTS, -1)
    perception = robot.perception
    detected = [*perception.observed_obs, *(100 + j for j in perception.observed_objs)]
    left = list(zip(perception.observation["objects"], detected, strict=True))
    for row, entry in enumerate(objects or []):
        # Equal entries appear in the order of detection.
        ids[row] = left.pop(next(k for k, (known, _) in enumerate(left) if known == entry))[1]
    return ids


def mask(indices: list[int], size: int) -> np.ndarray:
    flags = np.zeros(size, dtype=bool)
    flags[indices] = True
    return flags


def look_record(robot: Robot, observation: tuple, num_obstacles: int, num_robots: int) -> dict[str, Any]:
    """What one look gave, under the names of the recordings."""
    state, objects = observation
    seen = robot.perception if objects is not None else type(robot.perception)()
    return {
        "obs_self": np.full(7, np.nan) if state is None else state,
        "obs_objects": padded(objects),
        "obs_count": count(objects),
        "obj_id": object_ids(robot, objects),
        "detected_obstacles": mask(seen.observed_obs, num_obstacles),
        "detected_robots": mask(seen.observed_objs, num_robots),
        "apply_colregs": getattr(robot, "apply_COLREGs", False),
        "phi": getattr(robot, "phi", np.nan),
        "phi_defined": hasattr(robot, "phi"),
        "colregs_zone": robot.noted_zone,
        "colregs_row": -1 if robot.noted_obj is None else objects.index(robot.noted_obj),
    }


def state_record(robot: Robot) -> dict[str, Any]:
    return {
        "pose": [robot.x, robot.y, robot.theta],
        "velocity_r": robot.velocity_r,
        "velocity": robot.velocity,
        "thrust": [robot.left_thrust, robot.right_thrust],
        "collision": robot.collision,
        "reach_goal": robot.reach_goal,
    }


def action_list(row: np.ndarray) -> list[Any]:
    """Recorded actions as a caller passes them; NaN or -1 means None."""
    if row.dtype.kind == "f":
        return [None if np.isnan(action).any() else action.tolist() for action in row]
    return [None if action < 0 else int(action) for action in row]


def deactivate_finished(env: MarineNavEnv3) -> None:
    for robot in env.robots:
        if robot.collision or robot.reach_goal:
            robot.deactivated = True


class Replay:
    """One recorded episode; `change` is applied between the reset and the first step."""

    def __init__(self, name: str, change: Change = unchanged) -> None:
        self.data = read(f"env/{name}.npz")
        self.config = json.loads(str(self.data["config_json"]))
        self.change = change
        config = self.config
        self.env = MarineNavEnv3(config["ctor_seed"], config["schedule"], config["is_eval_env"])
        for key, value in (config["attributes"] or {}).items():
            setattr(self.env, key, value)
        if config["total_timesteps_before_reset"] is not None:
            self.env.total_timesteps = config["total_timesteps_before_reset"]

    def run(self) -> None:
        """Compare the reset, then every stored step, then the end."""
        self.reset()
        self.compare_reset()
        self.change(self.env)
        self._compare_steps()
        self._compare_end()

    def reset(self) -> None:
        env, config = self.env, self.config
        for _ in range(config["pre_resets"]):
            env.reset()
        if config["setup"] == "eval_config":
            episode = json.loads((GOLDEN / "env" / config["eval_config_file"]).read_text())
            self.first = env.reset_with_eval_config(episode)
        else:
            self.first = env.reset()
        if config["noise_free"]:
            for robot in env.robots:
                robot.perception.pos_std = robot.perception.vel_std = 0.0
                robot.perception.r_mean_ratio = 1.0
            self.first = env.get_observations()

    def _looks(self, observations: list[tuple]) -> dict[str, list]:
        env = self.env
        looks = [
            look_record(robot, observation, len(env.obstacles), len(env.robots))
            for robot, observation in zip(env.robots, observations, strict=True)
        ]
        record = {key: [look[key] for look in looks] for key in looks[0]}
        record["closest_dist"] = [
            robot.compute_distance(objects[0][0], objects[0][1], objects[0][4], True) if objects else np.nan
            for robot, (_, objects) in zip(env.robots, observations, strict=True)
        ]
        return record

    def _states(self) -> dict[str, list]:
        states = [state_record(robot) for robot in self.env.robots]
        return {key: [state[key] for state in states] for key in states[0]}

    def _compare(self, record: dict[str, Any], prefix: str = "") -> None:
        for key, value in record.items():
            exact = key in ("start", "goal", "init_theta", "cores", "obstacles") or "rng" in key
            assert_equal(value, self.data[prefix + key], prefix + key, atol=0 if exact else 1e-9)

    def compare_reset(self) -> None:
        env = self.env
        observations, collisions, reach_goals = self.first
        self._compare(
            {
                "start": [robot.start for robot in env.robots],
                "goal": [robot.goal for robot in env.robots],
                "init_theta": [robot.init_theta for robot in env.robots],
                "perception_seed": [robot.perception.seed for robot in env.robots],
                "cores": np.reshape([[c.x, c.y, c.clockwise, c.Gamma] for c in env.cores], (-1, 4)),
                "obstacles": np.reshape([[o.x, o.y, o.r] for o in env.obstacles], (-1, 3)),
                "requested": [env.num_robots, env.num_cores, env.num_obs],
                "min_start_goal_dis": env.min_start_goal_dis,
                "rng_key": env.rd.get_state()[1],
                "rng_pos": env.rd.get_state()[2],
            }
        )
        record = {**self._looks(observations), **self._states()}
        record.update(collision=collisions, reach_goal=reach_goals)
        record["perception_rng_next"] = [next_sample(robot.perception.rd) for robot in env.robots]
        self._compare(record, "reset_")

    def _steps(self) -> Iterator[tuple[int, dict[str, Any]]]:
        env, continuous = self.env, self.config["is_continuous_action"]
        for t, row in enumerate(self.data["actions"]):
            active = [not robot.deactivated for robot in env.robots]
            observations, rewards, dones, infos = env.step(action_list(row), continuous)
            record = {**self._looks(observations), **self._states()}
            record.update(active=active, rewards=rewards, dones=dones)
            record["info"] = [INFOS.index(info["state"]) for info in infos]
            deactivate_finished(env)
            yield t, record

    def _compare_steps(self) -> None:
        stored = {int(t): s for s, t in enumerate(self.data["step_index"])}
        self.returns = np.zeros(len(self.env.robots))
        for t, record in self._steps():
            self.returns += record["rewards"]
            if t in stored:
                for key, value in record.items():
                    assert_equal(value, self.data[key][stored[t]], f"step {t}: {key}")

    def _compare_end(self) -> None:
        env = self.env
        self._compare(
            {
                "return_sum": self.returns,
                "deactivated_final": [robot.deactivated for robot in env.robots],
                "perception_rng_next_end": [next_sample(robot.perception.rd) for robot in env.robots],
                "rng_key_end": env.rd.get_state()[1],
                "rng_pos_end": env.rd.get_state()[2],
                "episode_timesteps_end": env.episode_timesteps,
                "total_timesteps_end": env.total_timesteps,
            }
        )
