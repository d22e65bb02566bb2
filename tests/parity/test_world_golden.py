"""The NumPy world against recorded episodes: numbers within 1e-9; flags, indices, outcomes, streams equal."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.utils.robot import Robot

GOLDEN = Path(__file__).parents[1] / "golden"
EPISODES = sorted(path.stem for path in (GOLDEN / "env").glob("*_[0-9][0-9]*.npz"))
ROLLOUTS = [name for name in EPISODES if name.startswith("rollout")]
SLOTS = 5
INFOS = [
    "normal",
    "collision",
    "reach goal",
    "deactivated after collision",
    "deactivated after reaching goal",
    "too long episode",
]
ANGLES = ("pose", "theta")
Change = Callable[[MarineNavEnv3], None]


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name, allow_pickle=False) as data:
        return dict(data)


def assert_equal(actual: Any, expected: np.ndarray, what: str, atol: float = 1e-9) -> None:
    """Floats within `atol` with NaN equal to NaN, everything else exactly."""
    actual = np.asarray(actual)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(actual.astype(float), expected, rtol=0, atol=atol, err_msg=what)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=what)


def next_sample(rd: np.random.RandomState) -> float:
    """What a stream would give next, without consuming it."""
    return copy.deepcopy(rd).random_sample()


def padded_objects(objects: list[list[float]] | None) -> np.ndarray:
    rows = np.full((SLOTS, 5), np.nan)
    if objects:
        rows[: len(objects)] = objects
    return rows


def mask(indices: list[int], size: int) -> np.ndarray:
    flags = np.zeros(size, dtype=bool)
    flags[indices] = True
    return flags


class Watched:
    """Notes what the public COLREGs tests of a robot examined in its last look."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.zone, self.obj = 0, None
        tests = {1: robot.check_in_head_on_zone, 2: robot.check_in_left_crossing_zone}
        robot.check_in_head_on_zone = self._noting(tests[1], 1)
        robot.check_in_left_crossing_zone = self._noting(tests[2], 2)
        turn = robot.compute_COLREGs_turn_angle

        def note_turn(obj: list[float]) -> None:
            self.obj = list(obj)
            turn(obj)

        robot.compute_COLREGs_turn_angle = note_turn

    def _noting(self, test: Callable[..., bool], zone: int) -> Callable[..., bool]:
        def noted(position: Any, velocity: Any) -> bool:
            found = test(position, velocity)
            if found:
                self.zone = zone
            return found

        return noted

    def clear(self) -> None:
        self.zone, self.obj = 0, None

    def row(self, objects: list[list[float]] | None) -> int:
        return -1 if self.obj is None or objects is None else objects.index(self.obj)


def object_ids(robot: Robot, objects: list[list[float]] | None) -> np.ndarray:
    """Obstacle i as i, robot j as 100 + j, an empty slot as -1."""
    ids = np.full(SLOTS, -1)
    if objects:
        perception = robot.perception
        known = [*perception.observed_obs, *(100 + j for j in perception.observed_objs)]
        ids[: len(objects)] = [known[perception.observation["objects"].index(entry)] for entry in objects]
    return ids


def look_record(
    robot: Robot, watch: Watched, observation: tuple, num_obstacles: int, num_robots: int
) -> dict[str, Any]:
    """What one look gave, in the arrays of the recording."""
    state, objects = observation
    blind = objects is None
    perception = robot.perception
    closest = robot.compute_distance(objects[0][0], objects[0][1], objects[0][4], True) if objects else np.nan
    return {
        "obs_self": np.full(7, np.nan) if state is None else state,
        "obs_objects": padded_objects(objects),
        "obs_count": -1 if blind else len(objects),
        "apply_colregs": getattr(robot, "apply_COLREGs", False),
        "phi": getattr(robot, "phi", np.nan),
        "phi_defined": hasattr(robot, "phi"),
        "colregs_zone": watch.zone,
        "colregs_row": watch.row(objects),
        "obj_id": object_ids(robot, objects),
        "detected_obstacles": mask([] if blind else perception.observed_obs, num_obstacles),
        "detected_robots": mask([] if blind else perception.observed_objs, num_robots),
        "closest_dist": closest,
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


class Replay:
    """One recorded episode, replayed through the public API."""

    def __init__(self, name: str, change: Change = lambda env: None) -> None:
        self.data = read(f"env/{name}.npz")
        self.config = json.loads(str(self.data["config_json"]))
        self.env = MarineNavEnv3(
            seed=self.config["ctor_seed"],
            schedule=self.config["schedule"],
            is_eval_env=self.config["is_eval_env"],
        )
        for key, value in (self.config["attributes"] or {}).items():
            setattr(self.env, key, value)
        if self.config["total_timesteps_before_reset"] is not None:
            self.env.total_timesteps = self.config["total_timesteps_before_reset"]
        self.change = change
        self.name = name

    def reset(self) -> None:
        env = self.env
        for _ in range(self.config["pre_resets"] or 0):
            env.reset()
        eval_file = self.config.get("eval_config_file")
        if self.config["setup"] == "eval_config":
            eval_file = eval_file or f"{self.name}.json"
            self.result = env.reset_with_eval_config(json.loads((GOLDEN / "env" / eval_file).read_text()))
        else:
            self.result = env.reset()
        self.change(env)
        self.watches = [Watched(robot) for robot in env.robots]
        if self.config["noise_free"]:
            for robot in env.robots:
                robot.perception.pos_std = robot.perception.vel_std = 0.0
                robot.perception.r_mean_ratio = 1.0
        # The recorded first look belongs to the reset, before anything could watch its COLREGs tests.
        if self.config["noise_free"]:
            self.result = env.get_observations()

    def look(self, observations: list[tuple]) -> dict[str, list]:
        records = [
            look_record(robot, watch, observation, len(self.env.obstacles), len(self.env.robots))
            for robot, watch, observation in zip(self.env.robots, self.watches, observations, strict=True)
        ]
        return {key: [record[key] for record in records] for key in records[0]}

    def actions(self, t: int) -> list[Any]:
        row = self.data["actions"][t]
        if self.config["is_continuous_action"]:
            return [None if np.isnan(action).any() else action.tolist() for action in row]
        return [None if action < 0 else int(action) for action in row]

    def steps(self) -> Iterator[tuple[int, dict[str, Any]]]:
        env = self.env
        for t in range(len(self.data["actions"])):
            for watch in self.watches:
                watch.clear()
            active = [not robot.deactivated for robot in env.robots]
            observations, rewards, dones, infos = env.step(
                self.actions(t), self.config["is_continuous_action"]
            )
            record = self.look(observations)
            for robot in env.robots:
                for key, value in state_record(robot).items():
                    record.setdefault(key, []).append(value)
            record.update(active=active, rewards=rewards, dones=dones)
            record["info"] = [INFOS.index(info["state"]) for info in infos]
            for robot in env.robots:
                if robot.collision or robot.reach_goal:
                    robot.deactivated = True
            yield t, record


def check_reset(replay: Replay) -> None:
    env, data = replay.env, replay.data
    robots = env.robots
    observations, collisions, reach_goals = replay.result
    assert_equal([robot.start for robot in robots], data["start"], "start", atol=0)
    assert_equal([robot.goal for robot in robots], data["goal"], "goal", atol=0)
    assert_equal([robot.init_theta for robot in robots], data["init_theta"], "init_theta", atol=0)
    assert_equal([robot.perception.seed for robot in robots], data["perception_seed"], "seed")
    cores = np.reshape([[c.x, c.y, c.clockwise, c.Gamma] for c in env.cores], (-1, 4))
    assert_equal(cores, data["cores"], "cores", atol=0)
    obstacles = np.reshape([[o.x, o.y, o.r] for o in env.obstacles], (-1, 3))
    assert_equal(obstacles, data["obstacles"], "obstacles", atol=0)
    assert_equal([env.num_robots, env.num_cores, env.num_obs], data["requested"], "requested")
    assert_equal(env.min_start_goal_dis, data["min_start_goal_dis"], "min_start_goal_dis")
    check_stream(env, data, "")
    record = replay.look(observations)
    if not replay.config["noise_free"]:
        del record["colregs_zone"], record["colregs_row"]
    record.update(collision=collisions, reach_goal=reach_goals)
    for key in ("pose", "velocity_r", "velocity", "thrust"):
        record[key] = [state_record(robot)[key] for robot in robots]
    for key, value in record.items():
        assert_equal(value, data[f"reset_{key}"], f"reset_{key}")
    samples = [next_sample(robot.perception.rd) for robot in robots]
    assert_equal(samples, data["reset_perception_rng_next"], "reset stream", atol=0)


def check_stream(env: MarineNavEnv3, data: dict[str, np.ndarray], when: str) -> None:
    _, key, pos, *_ = env.rd.get_state()
    assert_equal(key, data[f"rng_key{when}"], f"rng_key{when}")
    assert_equal(pos, data[f"rng_pos{when}"], f"rng_pos{when}")


def check_steps(replay: Replay) -> None:
    data, env = replay.data, replay.env
    stored = {int(t): s for s, t in enumerate(data["step_index"])}
    returns = np.zeros(len(env.robots))
    for t, record in replay.steps():
        returns += record["rewards"]
        if t not in stored:
            continue
        for key, value in record.items():
            assert_equal(value, data[key][stored[t]], f"step {t}: {key}")
    assert_equal(returns, data["return_sum"], "return_sum", atol=1e-8)
    assert_equal([robot.deactivated for robot in env.robots], data["deactivated_final"], "deactivated_final")
    samples = [next_sample(robot.perception.rd) for robot in env.robots]
    assert_equal(samples, data["perception_rng_next_end"], "perception stream", atol=0)
    check_stream(env, data, "_end")
    assert_equal(env.episode_timesteps, data["episode_timesteps_end"], "episode_timesteps")
    assert_equal(env.total_timesteps, data["total_timesteps_end"], "total_timesteps")


@pytest.mark.parametrize("name", EPISODES)
def test_episode(name: str) -> None:
    replay = Replay(name)
    replay.reset()
    check_reset(replay)
    check_steps(replay)
