"""What stock parts of TorchRL take: the joined observation, rows of vessels that are there, the examples."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch
from torchrl.envs import TransformedEnv
from torchrl.envs.utils import check_env_specs

from marinenav_env.envs.contract.layout import OBSERVATION_KEYS, OBSERVATION_SIZE
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.transforms import MarineNavObservation, rows_of_vessels
from torchrl_gpu.learn.scale import ObservationScale

SMALL = {"num_robots": 2, "max_robots": 3, "num_cores": 1, "num_obs": 2, "min_start_goal_dis": 10.0}
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def make_env(**options):
    return TransformedEnv(MarineNavTorchRLEnv(2, seed=0, **SMALL | options), MarineNavObservation())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_torchrl_accepts_the_joined_observation(backend, dtype):
    check_env_specs(make_env(backend=backend, dtype=dtype))


def test_it_is_the_parts_scaled_as_in_training():
    data, scale = make_env(backend="torch").rollout(20), ObservationScale("cpu")
    parts = [scale(key, data["agents", key]).flatten(3) for key in OBSERVATION_KEYS]
    assert data["agents", "objects_mask"].any()
    torch.testing.assert_close(data["agents", "observation"], torch.cat(parts, -1), rtol=0, atol=0)
    follows = data["next", "agents", "observation"][:, :-1]
    torch.testing.assert_close(data["agents", "observation"][:, 1:], follows, rtol=0, atol=0)


def test_rows_are_those_of_vessels_in_the_water_and_end_once():
    env = make_env(backend="torch", num_obs=8)
    data = env.rollout(120, lambda data: data.set(("agents", "action"), torch.ones(2, 3, 2)))
    rows = rows_of_vessels(data)
    active = data["agents", "active"]
    assert rows.batch_size == (int(active.sum()),)
    assert rows["agents", "observation"].shape == (len(rows), OBSERVATION_SIZE)
    assert not active[:, :, 2].any()  # the third row is nobody's
    assert rows["agents", "active"].all()
    ended = rows["next", "agents", "done"]
    assert 0 < ended.sum() == data["next", "agents", "done"][:, -1, :2].sum()
    first = data["next", "agents", "reward"][0, :, 0][active[0, :, 0]]
    of_first = active[0].reshape(-1).nonzero().flatten()
    torch.testing.assert_close(rows["next", "agents", "reward"][: len(of_first)][::2][:5, 0], first[:5])


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_absent_vessels_count_in_no_loss_of_mappo():
    example = loaded(EXAMPLES[0])
    torch.manual_seed(0)
    env = example.make_env(2, 2, 0)
    actor = example.make_actor(env)
    loss, advantage = example.make_loss(actor)
    with torch.no_grad():
        data = advantage(env.rollout(6, actor))
    active = data["agents", "active"]
    assert active[..., :2, :].all()
    assert not active[..., 2:, :].any()

    def losses():
        values = loss(data.clone())
        return torch.stack([values[key] for key in ("loss_objective", "loss_critic")])

    data["shifted_valid"] = active
    before = losses()
    for key in ("advantage", "value_target"):
        data["agents", key][~active] = 1e3
    torch.testing.assert_close(losses(), before, rtol=0, atol=0)
    del data["shifted_valid"]
    assert (losses() != before).any()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_needs_nothing_but_torchrl_and_the_environment(path):
    source = path.read_text()
    tops = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom | ast.Import)
    }
    assert source.count("\n") < 150
    assert {top.partition(".")[0] for top in tops} <= {
        *("argparse", "pathlib", "time", "torch", "torchrl", "tensordict", "marinenav_env")
    }
    assert all(top.startswith("marinenav_env.envs") for top in tops if top.startswith("marinenav_env"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path, monkeypatch):
    curve, example = tmp_path / "curve.csv", loaded(path)
    monkeypatch.setattr(example, "EPISODE_STEPS", 20)
    frames = example.STEPS * 4
    example.main(timesteps=2 * frames, num_envs=4, seed=0, every=2, out=curve, episodes=2)
    header, row = curve.read_text().splitlines()
    assert header == "timestep,success,return,cpu_seconds"
    assert row.startswith(f"{2 * frames},0.")


@pytest.mark.slow
@pytest.mark.parametrize(("path", "timesteps"), zip(EXAMPLES, (122_880, 92_160), strict=True))
def test_an_example_learns(path, timesteps, tmp_path):
    curve = tmp_path / "curve.csv"
    loaded(path).main(timesteps=timesteps, num_envs=64, seed=0, every=10, out=curve)
    _, success, returns, _ = curve.read_text().splitlines()[-1].split(",")
    assert float(success) > 0.3
    assert float(returns) > 20
