"""`VectorWorld` against `MarineNavEnv3`: whole episodes with the same noise, single steps in float32."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.sensor import Perception
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, ObjectNoise
from marinenav_env.envs.torchrl_gpu.state import THETA, MapParams, RobotParams, StepResult
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

TOLERANCE = 1e-9
MAX_ROBOTS, MAX_OBSTACLES = 7, 8
STEPS = 100


class Recorder:
    """A random state that remembers what it gave."""

    def __init__(self, rd: np.random.RandomState):
        self._rd = rd
        self.given: list[float] = []

    def standard_normal(self) -> float:
        self.given.append(self._rd.standard_normal())
        return self.given[-1]

    def vonmises(self, mu: float, kappa: float) -> float:
        self.given.append(self._rd.vonmises(mu, kappa))
        return self.given[-1]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sensors of the NumPy world remember their noise."""
    plain = Perception.__init__

    def init(self: Perception, seed: int = 0) -> None:
        plain(self, seed)
        self.rd = Recorder(self.rd)

    monkeypatch.setattr(Perception, "__init__", init)


def take_noise(worlds: list[MarineNavEnv3], active: list[list[bool]]) -> Noise:
    """Noise drawn in the last perception, robots being `active` in it, laid out for the tensor world."""
    noise = torch.zeros(5, MAX_OBSTACLES + MAX_ROBOTS - 1, MAX_ROBOTS, len(worlds), dtype=torch.float64)
    for e, world in enumerate(worlds):
        for i, robot in enumerate(world.robots):
            others = [j - (j > i) for j, there in enumerate(active[e]) if there and j != i]
            slots = [*range(len(world.obstacles)), *(MAX_OBSTACLES + k for k in others)]
            given, robot.perception.rd.given = robot.perception.rd.given, []
            if active[e][i]:
                noise[:, slots, i, e] = torch.tensor(given, dtype=torch.float64).reshape(-1, 5).T
    return split(noise)


def split(noise: Tensor, obstacles: int = MAX_OBSTACLES) -> Noise:
    """Noise of obstacles and of robots from [5, K, R, E]."""
    return Noise(ObjectNoise(*noise[:, :obstacles]), ObjectNoise(*noise[:, obstacles:]))


def episode(seed: int, robots: int, cores: int, obstacles: int, change: Callable[[dict], None]) -> dict:
    env = MarineNavEnv3(seed=seed)
    env.num_robots, env.num_cores, env.num_obs, env.min_start_goal_dis = robots, cores, obstacles, 20.0
    env.reset()
    data = env.episode_data()
    change(data)
    return json.loads(json.dumps(data))


def as_generated(data: dict) -> None:
    pass


def other_vessels(data: dict) -> None:
    """Hydrodynamics, sub-steps, thrusters and initial conditions of every second robot unlike the others."""
    values = {
        "m": 420, "Izz": 470, "xDotU": -30, "yDotV": -60, "yDotR": -15, "nDotR": -900, "nDotV": -25,
        "xU": -90,
        "xUU": -140, "yV": -110, "yVV": -160, "yR": -12, "yRV": -13, "yVR": -14, "yRR": -16, "nR": -970,
        "nRR": -940, "nV": -17, "nVV": -18, "nRV": -19, "nVR": -21, "length": 4.5, "width": 2.2, "r": 2.5,
        "goal_dis": 2.5, "min_thrust": -400.0, "max_thrust": 800.0, "dt": 0.04, "N": 8, "init_left_pos": 0.2,
        "init_right_pos": -0.35, "init_left_thrust": 100.0, "init_right_thrust": -50.0,
    }  # fmt: skip
    for key, value in values.items():
        data["robots"][key][::2] = [value for _ in data["robots"][key][::2]]
    data["robots"]["init_velocity_r"][0] = [0.5, -0.3, 0.1]
    data["robots"]["left_thrust_change"][0] = [0.0, -400.0, -800.0, 450.0, 900.0]


def other_sensors(data: dict) -> None:
    for key, value in {"range": 14.0, "angle": 2.0, "max_obj_num": 3, "pos_std": 0.2, "vel_std": 0.3}.items():
        data["robots"]["perception"][key][1:] = [value for _ in data["robots"]["perception"][key][1:]]
    data["robots"]["perception"]["r_kappa"][0] = 3.0
    data["robots"]["perception"]["r_mean_ratio"][0] = 0.5


def other_map(data: dict) -> None:
    data["env"] |= {"r": 1.5, "timestep_penalty": -0.3, "COLREGs_penalty": -0.7, "collision_penalty": -9.0}
    data["env"] |= {
        "goal_reward": 20.0,
        "thrust_change_penalty": -0.4,
        "closeness_penalty": -1.5,
        "width": 60,
    }


EPISODES = [
    (1, 1, 0, 0, as_generated),
    (2, 3, 4, 0, as_generated),
    (3, 5, 0, 4, as_generated),
    (4, 6, 8, 8, as_generated),
    (5, 5, 3, 6, other_vessels),
    (6, 5, 2, 8, other_sensors),
    (7, 4, 4, 3, other_map),
    (8, 7, 0, 5, other_sensors),
]


def goal_seeking(robot: Robot, rng: np.random.RandomState, continuous: bool) -> list[float] | int:
    """Steer for the goal with some noise, so that robots meet each other and arrive."""
    bearing = math.atan2(robot.goal[1] - robot.y, robot.goal[0] - robot.x) - robot.theta
    turn = (bearing + math.pi) % (2 * math.pi) - math.pi - 2 * robot.velocity_r[2]
    if not continuous:
        left, right = (4, 1) if turn > 0.2 else (1, 4) if turn < -0.2 else (3, 3)
        return int(rng.randint(25)) if rng.rand() < 0.2 else 5 * left + right
    side = max(-1.0, min(1.0, turn))
    return [0.4 + side + 0.3 * rng.randn(), 0.4 - side + 0.3 * rng.randn()]


def pack(actions: list[list], continuous: bool) -> Tensor:
    shape = (len(actions), MAX_ROBOTS, 2) if continuous else (len(actions), MAX_ROBOTS)
    packed = torch.zeros(shape, dtype=torch.float64 if continuous else torch.int64)
    for e, of_world in enumerate(actions):
        for i, action in enumerate(of_world):
            if action is not None:
                packed[e, i] = torch.tensor(action, dtype=packed.dtype)
    return packed.permute(*range(packed.ndim - 1, -1, -1))


def check_observations(world: VectorWorld, worlds: list[MarineNavEnv3], observations: list, t: int) -> None:
    seen = world.observation
    for e, of_world in enumerate(observations):
        for i, (own, objects) in enumerate(of_world):
            number = 0 if objects is None else len(objects)
            assert int(seen.num_objects[i, e]) == number, f"objects of robot {i} in {e} at {t}"
            rows = torch.zeros(5, 5, dtype=torch.float64)
            if number:
                rows[:number] = torch.tensor(objects, dtype=torch.float64)
            own = (
                torch.zeros(7, dtype=torch.float64) if own is None else torch.tensor(own, dtype=torch.float64)
            )
            torch.testing.assert_close(seen.objects_state[:, :, i, e], rows, rtol=0, atol=TOLERANCE)
            torch.testing.assert_close(seen.self_state[:, i, e], own, rtol=0, atol=TOLERANCE)


def compare(continuous: bool, break_world: Callable[[VectorWorld], None] | None = None) -> set[str]:
    """Walk both worlds through all episodes; returns the outcomes met."""
    configs = [episode(*arguments) for arguments in EPISODES]
    worlds = [MarineNavEnv3() for _ in configs]
    world = VectorWorld(len(configs), MAX_ROBOTS, 8, 8, continuous=continuous, dtype=torch.float64)
    observations = [
        env.reset_with_eval_config(config)[0] for env, config in zip(worlds, configs, strict=True)
    ]
    world.load(configs, take_noise(worlds, [[True] * len(env.robots) for env in worlds]))
    if break_world:
        break_world(world)
    check_observations(world, worlds, observations, 0)
    rng, met = np.random.RandomState(0), set()
    for t in range(STEPS):
        active = [[not robot.deactivated for robot in env.robots] for env in worlds]
        actions = [
            [None if robot.deactivated else goal_seeking(robot, rng, continuous) for robot in env.robots]
            for env in worlds
        ]
        running = [not env.check_all_reach_goal() for env in worlds]  # else the NumPy world refuses to step
        results = [
            env.step(action, continuous) if run else None
            for env, action, run in zip(worlds, actions, running, strict=True)
        ]
        result = world.advance(pack(actions, continuous), noise=take_noise(worlds, active))
        shown = [
            r[0] if r else [(None, None)] * len(env.robots) for r, env in zip(results, worlds, strict=True)
        ]
        check_observations(world, worlds, shown, t + 1)
        for e, stepped in enumerate(results):
            if stepped is None:
                continue
            number = len(worlds[e].robots)
            states = [info["state"] for info in stepped[3]]
            met |= set(states)
            assert [OUTCOME_OF_STATE[s] for s in states] == result.outcome[:number, e].tolist(), (e, t)
            rewards = torch.tensor(stepped[1], dtype=torch.float64)
            torch.testing.assert_close(result.reward[:number, e], rewards, rtol=0, atol=TOLERANCE)
            for robot in worlds[e].robots:
                robot.deactivated = robot.collision or robot.reach_goal
            assert result.done[e] == worlds[e].check_all_deactivated()
    return met


@pytest.mark.parametrize("continuous", [True, False], ids=["continuous", "discrete"])
def test_episodes_with_the_same_noise(recorded: None, continuous: bool) -> None:
    met = compare(continuous)
    assert met >= {"normal", "collision", "reach goal", "deactivated after collision"}


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("pos_std", 1.001),
        ("vel_std", 1.001),
        ("yVR", 1.001),
        ("nDotV", 1.001),
        ("left_pos", 1.001),
        ("COLREGs_penalty", 1.001),
        ("goal_reward", 1.001),
        ("angle", 0.8),
    ],
)
def test_a_wrong_constant_is_noticed(recorded: None, name: str, factor: float) -> None:
    """The broken twin."""

    def break_world(world: VectorWorld) -> None:
        if name in RobotParams._fields:
            world.params.robot[RobotParams._fields.index(name)] *= factor
        else:
            world.params.map[MapParams._fields.index(name)] *= factor

    with pytest.raises(AssertionError):
        compare(True, break_world)


def test_cut_off_is_the_1001st_step(recorded: None) -> None:
    """Environment spec 12, 15.10: the step that starts at 1000 reports it, and events do not count there."""
    config = episode(1, 1, 0, 0, as_generated)
    world = VectorWorld(1, 1, 0, 0, dtype=torch.float64)
    world.load([config])
    world.state = world.state._replace(timesteps=torch.full_like(world.state.timesteps, 999))
    still = torch.zeros(2, 1, 1, dtype=torch.float64)
    first, second = world.advance(still), world.advance(still)
    assert first.outcome.item() == OUTCOME_OF_STATE["normal"]
    assert second.outcome.item() == OUTCOME_OF_STATE["too long episode"]
    assert not first.done
    assert second.done
    world.state = world.state._replace(motion=world.state.motion.clone())
    world.state.motion[:2] = world.state.scenario.goal
    third = world.advance(still)
    assert third.outcome.item() == OUTCOME_OF_STATE["too long episode"]
    assert third.reward.abs().item() < 1
    assert not world.state.active.any()


QUANTITIES = {"position": 2e-5, "yaw": 2e-6, "velocity": 2e-5, "thrust": 1e-3, "reward": 2e-5, "object": 5e-5}


def float32_step_deviations(golden: Path, tolerance_of: dict[str, float]) -> None:
    """From every recorded noise-free state, one step in float32 against the recorded next state."""
    configs = json.loads((golden / "noise_free" / "noise_free_configs.json").read_text())
    with np.load(golden / "noise_free" / "noise_free.npz") as arrays:
        for case in (2, 3, 4, 7):
            action, pose = arrays[f"{case:02d}_action"], arrays[f"{case:02d}_pose"]
            steps, robots = action.shape[:2]
            world = VectorWorld(steps, robots, 0, 0)
            size = len(configs[case]["env"]["obstacles"]["r"])
            still = split(torch.zeros(5, size + robots - 1, robots, steps), size)
            world.load([configs[case]] * steps, still)
            active = torch.from_numpy(arrays[f"{case:02d}_active"])
            world.state = world.state._replace(
                motion=torch.from_numpy(pose[:-1]).permute(2, 1, 0).float().contiguous(),
                active=active.T.int().contiguous(),
            )
            given = torch.from_numpy(np.nan_to_num(action)).permute(2, 1, 0).float()
            result = world.advance(given, noise=still)
            check_float32(world, result, arrays, f"{case:02d}", active, tolerance_of)


def check_float32(
    world: VectorWorld, result: StepResult, arrays: dict, case: str, active: Tensor, tolerance_of: dict
) -> None:
    def recorded(name: str) -> Tensor:
        return torch.from_numpy(arrays[f"{case}_{name}"])

    motion, pose = world.state.motion.permute(2, 1, 0)[active].double(), recorded("pose")[1:][active]
    deviation = (motion - pose).abs()
    turn = deviation[:, THETA]
    deviation[:, THETA] = torch.minimum(turn, 2 * math.pi - turn)
    count = recorded("objects_count")[1:][active]
    assert torch.equal(result.outcome.T[active], recorded("outcome")[active])
    assert torch.equal(result.observation.num_objects.T[active], count.int())
    colregs = recorded("apply_colregs")[1:][active]
    assert torch.equal(result.apply_colregs.T[active].bool(), colregs)
    objects = result.observation.objects_state.permute(3, 2, 0, 1)[active].double()
    known = torch.arange(5) < count[:, None]
    got = {
        "position": deviation[:, :2],
        "yaw": turn,
        "velocity": deviation[:, 3:9],
        "thrust": deviation[:, 9:],
        "reward": (result.reward.T[active].double() - recorded("reward")[active]).abs(),
        "object": (objects - recorded("objects_state")[1:][active]).abs()[known],
    }
    for name, tolerance in tolerance_of.items():
        assert got[name].max() <= tolerance, f"{name}: {got[name].max()} in case {case}"


def test_float32_single_steps(golden: Path) -> None:
    float32_step_deviations(golden, QUANTITIES)


def test_float32_tolerances_are_not_idle(golden: Path) -> None:
    """The broken twin: a hundredth of the tolerance is exceeded."""
    with pytest.raises(AssertionError):
        float32_step_deviations(golden, {name: value / 100 for name, value in QUANTITIES.items()})
