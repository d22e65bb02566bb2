"""Vortex field on tensors against recorded currents (environment spec 3)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.ops.current import core_strength, current


def current_of(cores: np.ndarray, points: np.ndarray, r: float) -> Tensor:
    """Current at points [n, 2] of one set of cores [C, 4]: points as robots, one environment."""
    cores = torch.from_numpy(cores).T[..., None]
    x, y = torch.from_numpy(points).T[..., None]
    field = current(x, y, cores, core_strength(cores), torch.tensor([r], dtype=torch.float64))
    return torch.stack(field)[..., 0].T


def test_recorded_fields(golden: Path) -> None:
    with np.load(golden / "env" / "field_vortex.npz") as data:
        for k in range(int(data["num_sets"])):
            got = current_of(data[f"cores_{k}"], data[f"points_{k}"], float(data[f"r_{k}"]))
            expected = torch.from_numpy(data[f"velocity_{k}"][:, :2])
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_centre_of_a_core_contributes_nothing() -> None:
    """Quirk W4; environment spec 15.5, third row."""
    cores = np.array([[20.0, 20.0, 1.0, 3 * np.pi], [26.0, 28.0, 0.0, 3 * np.pi]])
    got = current_of(cores, np.array([[20.0, 20.0]]), 0.5)
    torch.testing.assert_close(got, torch.tensor([[0.12, -0.09]], dtype=torch.float64), rtol=0, atol=1e-15)


def test_each_environment_has_its_own_field_and_empty_slots_are_still() -> None:
    rng = torch.Generator().manual_seed(0)
    cores = torch.rand(4, 3, 5, generator=rng, dtype=torch.float64) * 10
    cores[2] = cores[2] > 5
    cores[:, 2, 4] = 0  # an empty slot
    x, y = torch.rand(2, 6, 5, generator=rng, dtype=torch.float64) * 10
    core_r = torch.full((5,), 0.5, dtype=torch.float64)
    together = torch.stack(current(x, y, cores, core_strength(cores), core_r))
    for e in range(5):
        here = cores[:, : 2 if e == 4 else 3, e].T.numpy()
        alone = current_of(here, torch.stack((x[:, e], y[:, e]), 1).numpy(), 0.5)
        torch.testing.assert_close(together[..., e].T, alone, rtol=1e-13, atol=1e-13)
