"""The step of a batch in pieces: each is the step as it is written, with noise of its own."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from marinenav_env.envs.torchrl_gpu.ops.noise import NoiseKeys, radius_maps
from marinenav_env.envs.torchrl_gpu.step import noisy_step
from torchrl_gpu.evaluation import pieces
from torchrl_gpu.evaluation.fleets import Beginning
from torchrl_gpu.evaluation.ladder import Cell, beginning

NUMBER = 10
SEED = 3


@pytest.fixture(scope="module")
def start() -> Beginning:
    return beginning([Cell(3, 0, 0), Cell(4, 2, 2)], NUMBER // 2, SEED)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Pieces of four, not compiled; gives the sizes of what is stepped."""
    sizes = []

    def step(keys: Tensor, radii: Any, state: Any, params: Any, action: Tensor, **options: Any) -> Any:
        sizes.append(tuple(action.shape))
        return noisy_step(keys, radii, state, params, action, **options)

    monkeypatch.setattr(pieces, "WIDTH", 4)
    monkeypatch.setattr(pieces, "_step_of", lambda robots: step)
    return sizes


def stepped(step: Any, start: Beginning, action: Tensor, continuous: bool) -> tuple[Tensor, ...]:
    robot = start.params.of_robots()
    options = {"continuous": continuous, "substeps": (int(robot.N.min()), int(robot.N.max())), "terms": ()}
    radii = radius_maps(robot.r_kappa[:1, :1], start.params.robot.dtype)
    return step(NoiseKeys(SEED, "cpu"), radii, start.state, start.params, action, **options)


def part(start: Beginning, chosen: list[int]) -> Beginning:
    return tree_map(lambda leaf: leaf[..., chosen] if leaf.shape[-1] == NUMBER else leaf, start)


def commands(start: Beginning) -> Tensor:
    return torch.rand(2, *start.state.active.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_each_piece_is_a_step_with_noise_of_its_own(start: Beginning, narrow: list) -> None:
    action = commands(start)
    found = stepped(pieces.step_in_pieces, start, action, True)
    assert narrow == [(2, 4, 4)] * 3
    keys = NoiseKeys(SEED, "cpu")
    for chosen in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 9, 9]):
        step = lambda _, *rest, **options: noisy_step(keys.next(), *rest, **options)  # noqa: E731
        expected = stepped(step, part(start, chosen), action[..., chosen], True)
        for leaf, other in zip(found, expected, strict=True):
            own = list(dict.fromkeys(chosen))
            assert torch.equal(leaf[..., own], other[..., : len(own)])
    assert {leaf.shape[-1] for leaf in found} == {NUMBER}


def test_indices_give_the_thrust_that_they_stand_for(
    start: Beginning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "WIDTH", 16)  # one piece, so that the noise is that of a whole step
    size = start.params.thrust_change.shape[1] ** 2
    action = torch.arange(start.state.active.numel()).reshape(start.state.active.shape) % size
    found = stepped(pieces.step_in_pieces, start, action, False)
    expected = stepped(pieces.step_whole, start, action, False)
    moved = 0  # the state begins with the motion; later noise is that of other places in a wider batch
    assert torch.equal(found[moved], expected[moved])


def test_one_is_stepped_as_it_is(start: Beginning, narrow: list) -> None:
    one, action = part(start, [8]), commands(start)[..., [8]]
    ways = (pieces.step_in_pieces, pieces.step_whole)
    for leaf, other in zip(*(stepped(step, one, action, True) for step in ways), strict=True):
        assert torch.equal(leaf, other)
    assert narrow == []
