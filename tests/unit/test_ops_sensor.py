"""Perception and COLREGs on tensors against recorded scenes (environment spec 7, 8)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.episodes import default_params
from marinenav_env.envs.torchrl_gpu.ops import sensor as perception_ops
from marinenav_env.envs.torchrl_gpu.ops.colregs import starboard_turn
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, ObjectNoise
from marinenav_env.envs.torchrl_gpu.ops.sensor import Perception, nearest, others, perceive, rank_keys
from marinenav_env.envs.torchrl_gpu.state import RobotParams, Scenario, WorldState, begin

ROBOTS = OBSTACLES = 8
Scenes = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def scenes(golden: Path) -> Scenes:
    with np.load(golden / "env" / "perception_scenes.npz") as data:
        return {name: data[name] for name in data}


def state_of(s: Scenes) -> WorldState:
    """Every scene as one environment, the observing robot in its place."""
    n, ego = len(s["category"]), s["ego_index"]
    robots = s["robots"].copy()
    exists = np.arange(ROBOTS)[:, None] < s["num_robots"]
    motion = np.zeros((11, ROBOTS, n))
    motion[0], motion[1] = robots[..., 0].T, robots[..., 1].T
    motion[6], motion[7] = robots[..., 2].T, robots[..., 3].T
    scene = np.arange(n)
    motion[:3, ego, scene], motion[6:9, ego, scene] = s["ego_pose"].T, s["ego_velocity"].T
    motion[9:, ego, scene] = s["ego_thrust"].T
    active = exists & ~s["robots_deactivated"].T
    active[ego, scene] = ~s["ego_flags"][:, 2]
    flags = np.zeros((2, ROBOTS, n))
    flags[:, ego, scene] = s["ego_flags"][:, :2].T
    counts = np.stack((s["num_robots"], np.zeros(n), s["num_obstacles"]))
    goal = np.zeros((2, ROBOTS, n))
    goal[:, ego, scene] = s["ego_goal"].T

    def tensor(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.from_numpy(np.nan_to_num(array)).to(dtype)

    scenario = Scenario(
        initial=tensor(motion),
        goal=tensor(goal),
        cores=torch.zeros(4, 0, n, dtype=torch.float64),
        obstacles=tensor(s["obstacles"].transpose(2, 1, 0)),
        counts=tensor(counts, torch.int32),
    )
    integer = tensor(np.stack((active, *flags)), torch.int32)
    return begin(scenario)._replace(
        motion=tensor(motion), active=integer[0], collision=integer[1], reach_goal=integer[2]
    )


def params_of(s: Scenes) -> RobotParams:
    n = len(s["category"])
    fields = {k: v.expand(ROBOTS, n).clone() for k, v in default_params(1).of_robots()._asdict().items()}
    for i, name in enumerate(s["perception_param_names"].tolist()):
        fields[name] = torch.from_numpy(s["perception_params"][:, i]).expand(ROBOTS, n)
    fields["r"] = torch.from_numpy(np.nan_to_num(s["robots"][..., 4].T))
    fields["r"][s["ego_index"], np.arange(n)] = torch.from_numpy(s["ego_r"])
    return RobotParams(**fields)


def noise_of(s: Scenes) -> Noise:
    """The draws of every observing robot, in the order of the NumPy world."""
    n = len(s["category"])
    noise = torch.zeros(5, OBSTACLES + ROBOTS - 1, ROBOTS, n, dtype=torch.float64)
    for k in range(n):
        ego, rd = int(s["ego_index"][k]), np.random.RandomState(s["perception_seed"][k])
        kappa = s["perception_params"][k, 5]
        there = [j for j in range(s["num_robots"][k]) if j != ego and not s["robots_deactivated"][k, j]]
        slots = [*range(s["num_obstacles"][k]), *(OBSTACLES + j - (j > ego) for j in there)]
        for slot in slots:
            drawn = [*rd.standard_normal(4), rd.vonmises(0.0, kappa)]
            noise[:, slot, ego, k] = torch.tensor(drawn, dtype=torch.float64)
    return Noise(ObjectNoise(*noise[:, :OBSTACLES]), ObjectNoise(*noise[:, OBSTACLES:]))


def compare(s: Scenes, seen: Perception, tolerance: float) -> None:
    ego, scene = torch.from_numpy(s["ego_index"]).long(), torch.arange(len(s["category"]))
    count = torch.from_numpy(s["obs_count"]).int()

    def of_ego(tensor: Tensor) -> Tensor:
        return tensor[..., ego, scene]

    def check(got: Tensor, name: str) -> None:
        expected = torch.from_numpy(np.nan_to_num(s[name]))
        torch.testing.assert_close(got.movedim(-1, 0).to(expected.dtype), expected, rtol=0, atol=tolerance)

    assert torch.equal(of_ego(seen.observation.num_objects), count.clamp(min=0))
    check(of_ego(seen.observation.self_state), "obs_self")
    check(of_ego(seen.observation.objects_state), "obs_objects")
    assert of_ego(seen.collision).bool().tolist() == s["collision"].tolist()
    assert of_ego(seen.reach_goal).bool().tolist() == s["reach_goal"].tolist()
    applies = s["apply_colregs"] & ~s["ego_flags"][:, 2]
    assert of_ego(seen.apply_colregs).bool().tolist() == applies.tolist()
    phi = torch.from_numpy(np.where(applies, s["phi"], 0.0))
    torch.testing.assert_close(of_ego(seen.phi), phi, rtol=0, atol=tolerance)


def test_recorded_scenes(scenes: Scenes) -> None:
    compare(scenes, perceive(state_of(scenes), params_of(scenes), noise_of(scenes)), 1e-10)


def test_the_compiled_selection_is_the_eager_one(scenes: Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange network that a compiled step takes, run eagerly on the same scenes."""
    monkeypatch.setattr(perception_ops.torch.compiler, "is_compiling", lambda: True)
    compare(scenes, perceive(state_of(scenes), params_of(scenes), noise_of(scenes)), 1e-10)


@pytest.mark.parametrize("name", ["range", "angle", "r_mean_ratio", "pos_std", "r", "goal_dis"])
def test_a_wrong_constant_is_noticed(scenes: Scenes, name: str) -> None:
    """The broken twin."""
    p = params_of(scenes)
    wrong = p._replace(**{name: getattr(p, name) * 1.001})
    with pytest.raises(AssertionError):
        compare(scenes, perceive(state_of(scenes), wrong, noise_of(scenes)), 1e-10)


@pytest.mark.parametrize("field", ["HEAD_ON_LENGTH", "HEAD_ON_WIDTH", "STATIC_SPEED", "PASSING_MARGIN"])
def test_a_wrong_zone_is_noticed(scenes: Scenes, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from marinenav_env.envs.torchrl_gpu.ops import colregs as colregs_ops

    monkeypatch.setattr(colregs_ops, field, getattr(colregs_ops, field) * 1.05)
    with pytest.raises(AssertionError):
        compare(scenes, perceive(state_of(scenes), params_of(scenes), noise_of(scenes)), 1e-10)


HEAD_ON, CROSSING = [12, 1, -1.5, 0.1, 2.4], [8, 7, -0.2, -1.4, 2.3]


@pytest.mark.parametrize(
    ("own", "target", "phi"),
    [
        ((2, 0), HEAD_ON, 0.6067908030590559),
        ((1.5, 0.2), CROSSING, 1.171790367345015),
        ((2, 0), [12, -3.9, -1.5, 0.05, 2.3], 0.17597937773516398),
        ((2, 1), [12, -3.9, -1.5, 0.05, 2.3], 0),
        ((2, 0), [12, -8, 0.2, 1.5, 2.3], 0),
        ((2, 1.9), HEAD_ON, 0),
        ((0.3, 0.2), HEAD_ON, 0),
        ((2, 0), [12, 1, -0.3, 0.1, 2.4], 0),
        ((2, 0), [3.2, 0.2, -1.5, 0.1, 2.4], 0),
    ],
)
def test_table_of_the_specification(own: tuple, target: list, phi: float) -> None:
    """Environment spec 15.8; the last row is Quirk W19."""
    row = tuple(torch.tensor([[value]], dtype=torch.float64) for value in target)
    velocity = tuple(torch.tensor([[value]], dtype=torch.float64) for value in own)
    applies, got = starboard_turn([row], velocity, default_params(1).of_robots().r)
    assert applies.item() == (phi > 0)
    assert got.item() == pytest.approx(phi, abs=1e-12)


def test_the_nearest_object_to_which_the_rules_apply_decides() -> None:
    rows = [tuple(torch.tensor([[float(v)]]) for v in row) for row in ([5, 5, 0, 0, 1], CROSSING, HEAD_ON)]
    velocity = torch.tensor([[2.0]]), torch.tensor([[0.0]])
    own_r = default_params(1).of_robots().r.float()
    assert starboard_turn(rows, velocity, own_r)[1] == starboard_turn(rows[1:2], velocity, own_r)[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_gaps_keep_the_order_of_the_candidates(dtype: torch.dtype) -> None:
    """Environment spec 7.3, also among negative gaps, and what is not detected comes last."""
    gap = torch.tensor([3.0, -1.0, torch.inf, 3.0, -1.0, 20.0, 0.0, 3.0], dtype=dtype)[:, None, None]
    number = torch.arange(8, dtype=dtype)[:, None, None]
    p = RobotParams(*(value.to(dtype) for value in default_params(1).of_robots()))
    rows, count = nearest([number] * 5, gap, p)
    assert count.item() == 5
    assert [row[0].item() for row in rows] == [1, 4, 6, 0, 3]
    assert rank_keys(gap, p.range + p.r).argsort(0)[:, 0, 0].tolist() == [1, 4, 6, 0, 3, 7, 5, 2]


def test_others_leaves_the_observer_out() -> None:
    seen = others(torch.arange(4.0)[:, None])[..., 0].T
    assert seen.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
