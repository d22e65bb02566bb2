"""Both legacy memories by hand."""

import random

import numpy as np
import pytest
import torch

from agents.batch import state_batch
from agents.legacy.rainbow_memory import ReplayMemory, SegmentTree
from agents.legacy.replay_buffer import ReplayBuffer


def state(value: float, objects: int = 0):
    return [float(value)] * 7, [[float(value)] * 5] * objects


# ---- uniform


def test_uniform_memory_forgets_the_oldest():
    buffer = ReplayBuffer(3, 3, 5, 5)
    for k in range(5):
        buffer.add((state(k), k, 0.0, state(k + 1), False))
    assert buffer.size() == 3
    assert sorted(buffer.sample()[1]) == [2, 3, 4]


def test_uniform_memory_refuses_a_batch_it_does_not_have():
    buffer = ReplayBuffer(10, 4, 5, 5)
    buffer.add((state(0), 0, 0.0, state(1), False))
    with pytest.raises(ValueError, match="larger than population"):
        buffer.sample()


def test_uniform_memory_reseeds_python():
    """Quirk A2."""
    random.seed(1)
    buffer = ReplayBuffer(10, 4, 5, 5)
    drawn = random.random()
    assert drawn == random.Random(249).random()
    assert buffer.seed is None


def test_state_batch_refuses_more_objects_than_it_has_rows():
    with pytest.raises(ValueError, match="6 objects observed; allowed are the 5 nearest"):
        state_batch([([0.0] * 7, [[1.0] * 5] * 6)])


def test_state_batch_pads_with_zero_rows():
    own, objects, masks = state_batch([state(1), state(2, objects=2)])
    assert own == [[1.0] * 7, [2.0] * 7]
    assert objects == [[[0.0] * 5] * 5, [[2.0] * 5] * 2 + [[0.0] * 5] * 3]
    assert masks == [[0.0] * 5, [1.0, 1.0, 0.0, 0.0, 0.0]]


def test_state_batch_of_no_objects_at_all():
    assert state_batch([state(1), state(2)]) == ([[1.0] * 7, [2.0] * 7], [], [])


# ---- segment tree


def tree_of(*priorities: float) -> SegmentTree:
    tree = SegmentTree(len(priorities))
    for priority in priorities:
        tree.append(np.zeros((), tree.data.dtype), priority)
    return tree


def test_tree_sums_by_hand():
    tree = tree_of(1, 2, 3, 4)
    # root 10 = 3 + 7; leaves from index 2² - 1 = 3 on
    assert tree.sum_tree.tolist() == [10, 3, 7, 1, 2, 3, 4]
    assert (tree.tree_start, tree.index, tree.full, tree.max) == (3, 0, True, 4)


def test_find_by_hand():
    tree = tree_of(1, 2, 3, 4)
    # Cumulated priorities 1, 3, 6, 10; a value on a boundary belongs to the leaf it closes.
    values = np.array([0.5, 1.0, 1.5, 3.0, 3.1, 6.0, 9.9])
    priorities, slots, leaves = tree.find(values)
    assert slots.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert priorities.tolist() == [1, 1, 2, 2, 3, 3, 4]
    assert leaves.tolist() == [3, 3, 4, 4, 5, 5, 6]


def test_tree_of_a_size_that_is_no_power_of_two():
    tree = tree_of(1, 1, 1, 1, 1, 1)
    assert tree.total() == 6
    assert tree.find(np.arange(6) + 0.5)[1].tolist() == [0, 1, 2, 3, 4, 5]


def test_last_of_repeated_updates_holds():
    tree = tree_of(1, 1, 1, 1)
    tree.update(np.array([3, 5, 3]), np.array([5.0, 2.0, 7.0], dtype=np.float32))
    assert tree.sum_tree.tolist() == [11, 8, 3, 7, 1, 2, 1]
    assert tree.max == 7
    tree.update(np.array([3]), np.array([0.5], dtype=np.float32))
    assert tree.max == 7  # never decays


def test_number_of_elements_is_one_too_large_until_full():
    """Quirk A4."""
    tree = SegmentTree(4)
    counts = []
    for _ in range(5):
        counts.append(tree.num_elements())
        tree.append(np.zeros((), tree.data.dtype), 1.0)
    assert counts == [1, 2, 3, 4, 4]


def test_odd_size_fails_at_its_last_slot():
    with pytest.raises(IndexError):
        tree_of(1, 1, 1)


# ---- prioritised memory


def memory_of(rewards, terminals=(), capacity: int = 16, **kw) -> ReplayMemory:
    """One record per reward; record k has state k and action k."""
    memory = ReplayMemory("cpu", capacity, **kw)
    for k, reward in enumerate(rewards):
        memory.append(state(k, objects=1), k, reward, k in terminals)
    return memory


def sample_slot(memory: ReplayMemory, slot: int):
    """The sample of one record: it alone has a priority."""
    tree = memory.transitions
    tree.update(np.arange(tree.size) + tree.tree_start, (np.arange(tree.size) == slot).astype(np.float32))
    return memory.sample(1)


def test_three_step_return_by_hand():
    sample = sample_slot(memory_of([1, 2, 4, 8, 16, 32]), 0)
    # 1 + 0.99·2 + 0.9801·4 = 6.9004, bootstrapped from record 3
    assert sample.reward.flatten().tolist() == pytest.approx([6.9004])
    assert sample.next_state[0].tolist() == [[3.0] * 7]
    assert sample.not_done.tolist() == [[1.0]]
    assert sample.action.flatten().tolist() == [0]


def test_return_of_other_n_and_discount():
    sample = sample_slot(memory_of([1, 2, 4, 8, 16, 32], n=2, discount=0.5), 1)
    # 2 + ½·4 = 4, bootstrapped from record 3
    assert sample.reward.flatten().tolist() == [4.0]
    assert sample.next_state[0].tolist() == [[3.0] * 7]


@pytest.mark.parametrize(
    ("slot", "returns", "next_value", "nonterminal"),
    [
        # Records 0..3 are one episode, its last reward 8; record 4 begins the next one.
        (
            0,
            1 + 0.99 * 2 + 0.9801 * 4,
            3.0,
            0.0,
        ),  # Quirk A6b: record 3 is terminal, so no bootstrap, nor its reward
        (1, 2 + 0.99 * 4 + 0.9801 * 8, 0.0, 0.0),  # the window's fourth record is blank
        (2, 4 + 0.99 * 8, 0.0, 0.0),  # two blanks
        (3, 8.0, 0.0, 0.0),
        (4, 16 + 0.99 * 32 + 0.9801 * 64, 7.0, 1.0),  # the first record is never blank
    ],
)
def test_window_ends_with_the_episode(slot, returns, next_value, nonterminal):
    memory = memory_of([1, 2, 4, 8, 16, 32, 64, 128, 256], terminals={3})
    sample = sample_slot(memory, slot)
    assert sample.reward.flatten().tolist() == pytest.approx([returns])
    assert sample.next_state[0].tolist() == [[next_value] * 7]
    assert sample.not_done.tolist() == [[nonterminal]]
    # A blank next state is all zeros with an empty mask, never `None`.
    assert sample.next_state[2].sum() == (1.0 if next_value else 0.0)


def test_window_wraps_around_the_ring():
    memory = memory_of(range(20), capacity=16)  # slots 0..3 hold records 16..19
    sample = sample_slot(memory, 14)
    # records 14, 15, 16: 14 + 0.99·15 + 0.9801·16 = 44.5316
    assert sample.reward.flatten().tolist() == pytest.approx([44.5316])
    assert sample.next_state[0].tolist() == [[17.0] * 7]


@pytest.mark.parametrize("newest", [1, 2, 3])
def test_newest_records_are_never_sampled(newest):
    memory = memory_of(range(10), max_attempts=50)
    with pytest.raises(RuntimeError, match="no valid batch in 50 attempts: of the 11 records"):
        sample_slot(memory, 10 - newest)
    assert sample_slot(memory, 6).action.flatten().tolist() == [6]


def test_sampling_too_early_is_refused():
    """Quirk A7: 192 equal priorities are 3 to a segment of a batch of 64; the legacy code never returned."""
    np.random.seed(0)
    with pytest.raises(RuntimeError, match="begin learning later"):
        memory_of(range(192), capacity=256, max_attempts=200).sample(64)
    assert len(memory_of(range(260), capacity=1024).sample(64).action) == 64


def test_importance_weights_by_hand():
    memory = memory_of(range(12))
    tree = memory.transitions
    tree.update(np.array([0, 4]) + tree.tree_start, np.array([4.0, 2.0], dtype=np.float32))
    # Total 4 + 2 + 10 = 16 of 12 records. (12·4/16)^-0.4 over the largest, (12·1/16)^-0.4: 4^-0.4.
    assert tree.total() == 16
    weights = tree.importance(np.array([4, 2, 1], dtype=np.float32), 0.4)
    assert weights.tolist() == pytest.approx([4**-0.4, 2**-0.4, 1.0])


def test_priorities_are_roots_of_losses():
    memory = memory_of(range(8))
    tree = memory.transitions
    memory.update_priorities(np.array([2, 5]) + tree.tree_start, np.array([4.0, 9.0], dtype=np.float32))
    assert tree.sum_tree[tree.tree_start :].tolist() == [1, 1, 2, 1, 1, 3, 1, 1] + [0] * 8
    memory.append(state(8), 8, 0.0, False)
    assert tree.sum_tree[tree.tree_start + 8] == 3  # new records get the largest priority so far


def test_stream_counter_counts_records_until_a_terminal_one():
    """Quirk A3: whichever robot it belongs to."""
    memory = memory_of(range(6), terminals={2})
    assert memory.transitions.data["timestep"][:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert memory.t == 3


def test_sampled_tensors_do_not_follow_the_memory():
    memory = memory_of(range(10))
    sample = sample_slot(memory, 2)
    memory.transitions.data["self_state"][:] = -1
    assert torch.equal(sample.state[0], torch.full((1, 7), 2.0))
