"""`VectorWorld` replays the recorded noise-free episodes, unequal sizes in one batch, to 1e-9."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, ObjectNoise
from marinenav_env.envs.torchrl_gpu.state import Observation, RobotParams
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

CONTINUOUS, DISCRETE = (0, 1, 2, 3, 4, 7), (5, 6)
TOLERANCE = 1e-9


class Recording:
    """Recorded arrays of some episodes, padded to eight robots and laid out as the world has them."""

    def __init__(self, folder: Path, cases: tuple[int, ...]):
        configs = json.loads((folder / "noise_free" / "noise_free_configs.json").read_text())
        self.configs = [configs[case] for case in cases]
        with np.load(folder / "noise_free" / "noise_free.npz") as arrays:
            self._arrays = [
                {k[3:]: arrays[k] for k in arrays if k.startswith(f"{case:02d}_")} for case in cases
            ]
        self.length = max(len(arrays["action"]) for arrays in self._arrays)

    def row(self, name: str, t: int, fill: float = np.nan) -> Tensor:
        """Row `t` of an array of all cases, [..., 8, E]; `fill` where a case has none."""
        columns = []
        for arrays in self._arrays:
            values = arrays[name]
            column = np.full((8, *values.shape[2:]), fill, dtype=values.dtype)
            if t < len(values):
                column[: values.shape[1]] = values[t]
            columns.append(np.moveaxis(column, 0, -1))
        return torch.from_numpy(np.stack(columns, -1))


def assert_close(got: Tensor, recorded: Tensor, what: str) -> None:
    known = ~recorded.isnan()
    deviation = (got - recorded)[known].abs()
    assert (deviation <= TOLERANCE).all(), f"{what}: {deviation.max()}"


def compare_state(world: VectorWorld, observation: Observation, record: Recording, t: int) -> None:
    assert_close(world.state.motion, record.row("pose", t), f"pose {t}")
    assert_close(observation.self_state, record.row("self_state", t), f"self_state {t}")
    assert_close(observation.objects_state, record.row("objects_state", t), f"objects_state {t}")
    count = record.row("objects_count", t, fill=-2)
    same = observation.num_objects == count.clamp(min=0)
    assert same[count > -2].all(), f"objects_count {t}"


def replay(record: Recording, *, continuous: bool, change: dict[str, float] | None = None) -> None:
    """Run all recorded steps and compare everything; `change` perturbs constants of all robots."""
    world = VectorWorld(len(record.configs), 8, 0, 8, continuous=continuous, dtype=torch.float64)
    still = torch.zeros(5, 15, 8, world.num_envs, dtype=torch.float64)
    noise = Noise(ObjectNoise(*still[:, :8]), ObjectNoise(*still[:, 8:]))
    world.load(record.configs, noise)
    for name, factor in (change or {}).items():
        world.params.robot[RobotParams._fields.index(name)] *= factor
    compare_state(world, world.observation, record, 0)
    for t in range(record.length):
        action = record.row("action", t, fill=-1)
        action = action.nan_to_num(7.0) if continuous else action.clamp(min=0)  # what nobody acts on
        acting, recorded_acting = world.state.active.bool(), record.row("active", t, fill=False)
        result = world.advance(action, noise=noise)
        outcome = record.row("outcome", t, fill=-1)
        running = outcome >= 0
        assert torch.equal(acting[running], recorded_acting[running]), f"active {t}"
        assert torch.equal(result.outcome[running], outcome[running]), f"outcome {t}"
        colregs = record.row("apply_colregs", t + 1, fill=False)
        assert torch.equal(result.apply_colregs[recorded_acting].bool(), colregs[recorded_acting]), (
            f"colregs {t}"
        )
        assert_close(result.reward, record.row("reward", t), f"reward {t}")
        compare_state(world, result.observation, record, t + 1)


@pytest.mark.parametrize("cases", [CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def test_noise_free_episodes(golden: Path, cases: tuple[int, ...]) -> None:
    replay(Recording(golden, cases), continuous=cases is CONTINUOUS)


@pytest.mark.parametrize(
    ("name", "factor"), [("m", 1 + 1e-7), ("nRR", 1 + 1e-7), ("range", 1.05), ("goal_dis", 1.5)]
)
def test_a_wrong_constant_is_noticed(golden: Path, name: str, factor: float) -> None:
    """The broken twin; constants that only matter at thresholds are moved further."""
    with pytest.raises(AssertionError):
        replay(Recording(golden, CONTINUOUS), continuous=True, change={name: factor})
