"""The sum tree of the prioritised replay: against its definition, the legacy tree and TorchRL's sampler."""

import math

import numpy as np
import pytest
import torch
from torchrl.data import LazyTensorStorage
from torchrl.data.replay_buffers import samplers as torchrl_samplers

from agents.legacy.rainbow_memory import SegmentTree
from torchrl_gpu.replay.priority_tree import PriorityTree
from torchrl_gpu.replay.samplers import PrioritizedSampler, PrioritySettings

SHAPES = [(1, 4, 4), (7, 2, 2), (64, 4, 4), (100, 8, 5), (1000, 4, 16), (5000, 64, 2**14), (5000, 8, 8)]
"""Sizes, fan-outs and roots; sizes are no powers of them."""


def powers(exponent, weight):
    return PrioritySettings(priority_exponent=exponent, priority_weight=weight)


def numbers(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "fanout", "root"), SHAPES)
def test_a_tree_is_what_its_priorities_say(size, fanout, root):
    tree = PriorityTree(size, fanout=fanout, root=root)
    expected, generator = np.zeros(size), numbers(size)
    for number in (1, 3, 50, 400):
        slots = torch.randint(size, (number,), generator=generator)
        values = torch.rand(number, generator=generator) * 10.0 ** float(torch.randint(-6, 6, ()))
        tree.set(slots, values)
        for slot, value in zip(slots.tolist(), values.tolist(), strict=True):
            expected[slot] = value  # of a slot named twice the last one
        assert torch.equal(tree[torch.arange(size)], torch.from_numpy(expected))
        assert float(tree.smallest) == expected[expected > 0].min()
        assert float(tree.total) == pytest.approx(math.fsum(expected), rel=1e-14)
        running = np.cumsum(expected)
        sums = np.random.default_rng(number).random(300) * running[-1]
        near = np.abs(running[None] - sums[:, None]).min(1) < 1e-12 * running[-1]
        found = tree.find(torch.from_numpy(sums)).numpy()
        assert (found == np.searchsorted(running, sums))[~near].all()
        assert (expected[found] > 0).all()


def test_rounding_never_leads_to_an_empty_slot():
    tree = PriorityTree(1000, fanout=4, root=4)
    slots = torch.arange(100, 700)
    tree.set(slots, 10.0 ** (-8 + 16 * torch.rand(600, generator=numbers(1))))
    total = tree.total
    beyond = torch.stack((total, torch.nextafter(total, 2 * total), total * (1 + 1e-9)))
    assert tree.find(beyond).tolist() == [699] * 3
    assert (tree[tree.find(torch.rand(10_000, generator=numbers(2), dtype=torch.float64) * total)] > 0).all()


@pytest.mark.parametrize("start", [0, 17, 95, 99])
@pytest.mark.parametrize("number", [1, 9, 30, 101])
def test_a_run_of_slots_is_a_set_of_slots(start, number):
    """Around the end, and with others among them that have no priority: the last slot of the tree."""
    generator = numbers(start)
    one, two = PriorityTree(101, fanout=4, root=4), PriorityTree(101, fanout=4, root=4)
    for tree in (one, two):
        tree.set(torch.arange(100), torch.ones(100))
    keep = torch.rand(number, generator=generator) < 0.6
    slots = torch.where(keep, (start + keep.cumsum(0) - 1) % 100, 100)
    values = torch.where(keep, 5.0, 0.0)
    one.set(slots, values)
    two.set_run(slots, values)
    everything = torch.linspace(0, float(one.total), 500, dtype=torch.float64)
    assert torch.equal(one.find(everything), two.find(everything))
    assert torch.equal(one.total, two.total)
    assert torch.equal(one.smallest, two.smallest)


def test_a_restored_tree_is_the_tree():
    tree, other = PriorityTree(5000, fanout=8, root=8), PriorityTree(5000, fanout=8, root=8)
    tree.set(torch.arange(4000), torch.rand(4000, generator=numbers(3)))
    other.set(torch.arange(5000), torch.ones(5000))
    state = tree.state_dict()
    assert len(state["priorities"]) == 4000
    other.load_state_dict(state)
    sums = torch.rand(1000, generator=numbers(4), dtype=torch.float64) * tree.total
    assert torch.equal(tree.find(sums), other.find(sums))
    assert tree.smallest == other.smallest
    assert tree.total == other.total
    assert len(PriorityTree(10).state_dict()["priorities"]) == 0


@pytest.mark.parametrize("size", [2, 12, 50, 130, 1024])
def test_the_tree_of_the_legacy_memory_to_the_last_bit(size):
    legacy = SegmentTree(size)
    tree = PriorityTree(size, fanout=2, root=2, dtype=torch.float32, strays=True)
    rng = np.random.default_rng(size)
    for first in range(0, 2 * size, 8):
        run = np.arange(first, first + 8)[:size] % size
        for _ in run:
            legacy.push(np.float32(legacy.max))
        tree.set_run(torch.from_numpy(run), torch.full((len(run),), float(legacy.max)))
        slots = rng.integers(min(first + 8, size), size=32)
        losses = (rng.random(32) ** 4 * 100).astype(np.float32)
        legacy.update(slots + legacy.tree_start, losses)
        tree.set(torch.from_numpy(slots), torch.from_numpy(losses))
        assert tree.total.numpy() == legacy.total()
        sums = np.append(rng.random(200), 1.0) * legacy.total()
        priorities, expected, _ = legacy.find(sums)
        found = tree.find(torch.from_numpy(sums))
        assert np.array_equal(found.numpy(), expected)
        assert np.array_equal(tree[found].numpy(), priorities)


def filled(size, seed):
    """A sampler with priorities between 1e-4 and 1e4, and TorchRL's with the same."""
    try:
        torchrl = torchrl_samplers.PrioritizedSampler(size, alpha=0.6, beta=0.4, device="cpu")
    except RuntimeError:
        pytest.skip("TorchRL's compiled extension does not load")
    ours, storage = PrioritizedSampler(size, powers(0.6, 0.4)), LazyTensorStorage(size)
    storage.set(range(size), torch.zeros(size))
    losses = 10.0 ** (8 * torch.rand(size, generator=numbers(seed)) - 4)
    ours.extend(torch.arange(size))
    torchrl.mark_update(torch.arange(size))
    for part in torch.randperm(size, generator=numbers(seed)).split(100):
        ours.update_priority(part, losses[part])
        torchrl.update_priority(part, losses[part])
    again = torch.randint(size, (size // 3,), generator=numbers(seed + 1))
    ours.extend(again[:1])
    torchrl.mark_update(again[:1])
    for part in again.split(50):  # some of them twice
        ours.update_priority(part, losses[part.flip(0)])
        torchrl.update_priority(part, losses[part.flip(0)])
    return ours, torchrl, storage


@pytest.mark.parametrize("size", [5, 333, 20_000])
def test_draws_and_weights_are_those_of_torchrl(size):
    ours, torchrl, storage = filled(size, 7)
    same = total = 0
    for seed in range(20):
        np.random.seed(seed)
        expected, info = torchrl.sample(storage, 256)
        np.random.seed(seed)
        slots, weights = ours.sample(storage, 256)
        equal = slots == expected
        torch.testing.assert_close(
            weights["priority_weight"][equal], info["priority_weight"][equal], rtol=2e-6, atol=0
        )
        same, total = same + int(equal.sum()), total + 256
    assert same / total > 0.995  # the sums there are of float32, and end the others elsewhere


def test_what_is_drawn_has_the_probabilities_of_the_priorities():
    """Chi-square over 100 slots at 200 thousand draws: above 149 once in a thousand seeds."""
    sampler = PrioritizedSampler(130, powers(0.5, 1.0))
    sampler.extend(torch.arange(100))
    losses = torch.linspace(0.01, 9.0, 100)
    sampler.update_priority(torch.arange(100), losses)
    probabilities = ((losses + 1e-8) ** 0.5).double()
    probabilities /= probabilities.sum()
    np.random.seed(11)
    slots, weights = sampler.sample(None, 200_000)
    expected = probabilities * len(slots)
    counts = torch.bincount(slots, minlength=100)
    assert len(counts) == 100  # nothing of the 30 that are empty
    assert float(((counts - expected) ** 2 / expected).sum()) < 149
    # With exponent 1 the weights undo the probabilities, up to a factor.
    weighted = torch.zeros(100).index_add(0, slots, weights["priority_weight"])
    assert weighted.std() / weighted.mean() < 0.05


def test_new_transitions_have_the_largest_priority_so_far():
    sampler = PrioritizedSampler(10, powers(1.0, 0.4))
    sampler.extend(torch.arange(3))
    assert sampler.tree[torch.arange(4)].tolist() == pytest.approx([1, 1, 1, 0])
    sampler.update_priority(torch.tensor([1]), torch.tensor([7.0]))
    sampler.update_priority(torch.tensor([1]), torch.tensor([0.5]))
    sampler.extend(torch.tensor([3, 10, 4]))  # the spare slot of a ring that keeps no count
    expected = [1, 0.5, 1, 7, 7, 0, 0, 0, 0, 0, 0]
    assert sampler.tree[torch.arange(11)].tolist() == pytest.approx(expected)
