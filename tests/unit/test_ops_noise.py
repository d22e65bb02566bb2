"""The sensors' noise: its distributions, and that no two perceptions share any.

Two-sample and one-sample Kolmogorov-Smirnov tests with fixed seeds at significance 0.001.
"""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm, vonmises
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.ops.noise import (
    Noise,
    NoiseKeys,
    draw_noise,
    radius_maps,
    von_mises,
    von_mises_map,
)

SIGNIFICANCE = 1e-3
SIZES = (4, 5, 2000)


def draw(keys: NoiseKeys, kappa: float = 1.0, dtype: torch.dtype = torch.float64) -> Noise:
    return draw_noise(keys.next(), SIZES, radius_maps(torch.tensor([[kappa]]), dtype), dtype)


def flat(noise: Noise) -> Tensor:
    """All numbers of a perception by stream, [5, n]."""
    return torch.cat([torch.stack(part).flatten(1) for part in noise], 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_and_velocities_are_normal(dtype: torch.dtype) -> None:
    for stream in flat(draw(NoiseKeys(3, "cpu"), dtype=dtype))[:4]:
        assert kstest(stream.double().numpy(), "norm").pvalue > SIGNIFICANCE


@pytest.mark.parametrize("kappa", [0.0, 1e-9, 1e-4, 0.3, 1.0, 4.0, 50.0, 1e5])
def test_radii_are_von_mises(kappa: float) -> None:
    """Against the generator of the NumPy world, from almost uniform to almost normal."""
    ours = flat(draw(NoiseKeys(4, "cpu"), kappa))[4].numpy()
    theirs = np.random.RandomState(0).vonmises(0, kappa, len(ours))
    assert kstest(ours, theirs).pvalue > SIGNIFICANCE


def test_another_concentration_is_noticed() -> None:
    """The broken twin."""
    ours = flat(draw(NoiseKeys(4, "cpu"), 1.05))[4].numpy()
    assert kstest(ours, vonmises(1.0).cdf).pvalue < SIGNIFICANCE


@pytest.mark.parametrize("kappa", [1e-3, 1.0, 4.0, 20.0])
def test_the_map_is_exact_between_its_knots(kappa: float) -> None:
    """Tail masses of angle and Rayleigh number agree, to the accuracy of the interpolation."""
    t = torch.linspace(0, 5.9, 5001, dtype=torch.float64)[None]
    angle = von_mises(t, radius_maps(torch.tensor([[kappa]]), torch.float64))
    mass = 2 * vonmises(kappa).sf(angle[0].numpy())
    assert np.abs(mass - np.exp(-(t[0].numpy() ** 2) / 2)).max() < 2e-6


def test_the_map_of_large_concentrations_is_that_of_a_normal() -> None:
    t = np.linspace(0.1, 5, 50)
    angle = np.interp(t, np.linspace(0, 6, len(von_mises_map(1e5))), von_mises_map(1e5))
    np.testing.assert_allclose(angle, norm.isf(np.exp(-(t**2) / 2) / 2) / np.sqrt(1e5), rtol=1e-3)


def test_each_robot_has_its_own_concentration() -> None:
    kappas = torch.tensor([[1.0, 100.0], [100.0, 1.0]])
    angles = von_mises(torch.full((3, 2, 2), 2.0), radius_maps(kappas, torch.float32))
    assert (angles[:, kappas == 1.0] > 1.5).all()
    assert (angles[:, kappas == 100.0] < 0.3).all()


def test_no_two_perceptions_and_no_two_streams_go_together() -> None:
    keys = NoiseKeys(7, "cpu")
    rows = torch.cat((flat(draw(keys)), flat(draw(keys)), flat(draw(NoiseKeys(8, "cpu")))))
    correlation = torch.corrcoef(rows) - torch.eye(len(rows), dtype=rows.dtype)
    assert correlation.abs().max() < 4.5 / rows.shape[1] ** 0.5
    lagged = (rows[:, 1:] * rows[:, :-1]).mean(1) / rows.var(1)
    assert lagged.abs().max() < 4.5 / rows.shape[1] ** 0.5


def test_the_seed_decides() -> None:
    a, b = NoiseKeys(7, "cpu"), NoiseKeys(7, "cpu")
    assert torch.equal(flat(draw(a)), flat(draw(b)))
    assert not torch.equal(flat(draw(a)), flat(draw(NoiseKeys(2**40 + 7, "cpu"))))


def test_no_generator_of_torch_is_touched() -> None:
    before = torch.get_rng_state()
    draw(NoiseKeys(0, "cpu"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kappa", [-1.0, float("nan"), float("inf")])
def test_impossible_concentrations_are_refused(kappa: float) -> None:
    with pytest.raises(ValueError, match="r_kappa holds"):
        radius_maps(torch.tensor([[kappa]]), torch.float64)
