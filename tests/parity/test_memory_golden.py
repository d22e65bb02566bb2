"""Both legacy memories through the recorded scripts of appends, samples and priority updates."""

import random

import numpy as np
import pytest
import torch

from agents.batch import state_batch
from agents.legacy.rainbow_memory import ReplayMemory
from agents.legacy.replay_buffer import ReplayBuffer
from tests.parity.agents_golden import assert_close, config, load, states

CONSTRUCT, APPEND, SAMPLE, UPDATE, SEED = 9, 0, 1, 2, 3


def tree_state(memory: ReplayMemory) -> list[float]:
    tree = memory.transitions
    leaf_sum = tree.sum_tree[tree.tree_start :].sum(dtype=np.float64)
    return [tree.total(), leaf_sum, tree.index, tree.full, tree.max, tree.num_elements(), memory.t]


def run_prioritised(golden, memory: ReplayMemory, priority_power: float = 1.0) -> None:
    """Follow the script and compare after each operation."""
    case = load(golden, "memory_rainbow_cap64")
    batch = config(golden)["memory"]["rainbow"][0]["batch"]
    columns = states(case, "data."), case["data.actions"], case["data.rewards"], case["data.dones"]
    records = iter(zip(*(list(column) for column in columns), strict=True))
    samples, updates, attempts, last = 0, 0, [], None
    find = memory.transitions.find
    memory.transitions.find = lambda values: attempts.append(1) or find(values)
    for (code, argument), state_after in zip(case["ops"], case["state_after_op"], strict=True):
        if code == SEED:
            np.random.seed(argument)
        elif code == APPEND:
            for _ in range(argument):
                memory.append(*next(records))
        elif code == SAMPLE:
            attempts.clear()
            last = memory.sample(batch)
            assert len(attempts) == case["sample.attempts"][samples]
            assert_sample(case, samples, last)
            samples += 1
        elif code == UPDATE:
            memory.update_priorities(last.index.numpy(), case["priorities"][updates] ** priority_power)
            updates += 1
        assert_close(tree_state(memory), state_after)
    assert samples == len(case["sample.tree_idxs"])
    tree = memory.transitions
    assert_close(tree.sum_tree[tree.tree_start :], case["final.leaves"])
    for name in ("timestep", "nonterminal", "action"):
        assert tree.data[name].tolist() == case[f"final.{name}"].tolist()


def assert_sample(case, k: int, sample) -> None:
    assert sample.index.tolist() == case["sample.tree_idxs"][k].tolist()
    assert sample.action.flatten().tolist() == case["sample.actions"][k].tolist()
    assert torch.equal(sample.not_done, torch.from_numpy(case["sample.nonterminals"][k]))
    for observation, prefix in ((sample.state, ""), (sample.next_state, "next_")):
        for part, name in zip(observation, ("self", "objects", "masks"), strict=True):
            assert torch.equal(part, torch.from_numpy(case[f"sample.{prefix}{name}"][k])), (k, prefix, name)
    assert_close(sample.reward.squeeze(1), case["sample.returns"][k])
    assert_close(sample.weight, case["sample.weights"][k])


def memory_of(golden, **kw) -> ReplayMemory:
    return ReplayMemory("cpu", config(golden)["memory"]["rainbow"][0]["capacity"], **kw)


def test_prioritised_memory(golden):
    run_prioritised(golden, memory_of(golden))


@pytest.mark.parametrize(
    "changed", [{"discount": 0.9901}, {"priority_weight": 0.401}, {"priority_exponent": 0.501}, {"n": 2}]
)
def test_broken_twin_with_changed_constant_fails(golden, changed):
    with pytest.raises((AssertionError, StopIteration)):
        run_prioritised(golden, memory_of(golden, **changed))


def test_broken_twin_with_changed_priorities_fails(golden):
    with pytest.raises(AssertionError):
        run_prioritised(golden, memory_of(golden), priority_power=0.99)


def run_uniform(golden, **construction) -> None:
    case, settings = load(golden, "memory_uniform_cap64"), config(golden)["memory"]["uniform"][0]
    columns = (
        states(case, "data."),
        case["data.actions"].tolist(),
        case["data.rewards"].tolist(),
        states(case, "data.next_"),
        case["data.dones"].tolist(),
    )
    records = list(zip(*columns, strict=True))
    added, samples, buffer = 0, 0, None
    for (code, argument), size in zip(case["ops"], case["size_after_op"], strict=True):
        if code == SEED:
            random.seed(int(argument))
        elif code == CONSTRUCT:
            buffer = ReplayBuffer(settings["capacity"], settings["batch"], 5, 5, **construction)
        elif code == APPEND:
            for record in records[added : added + argument]:
                buffer.add(record)
            added += argument
        elif code == SAMPLE:
            indices = case["sample.abs_idx"][samples]
            assert_uniform_sample(case, samples, buffer.sample(), [records[index] for index in indices])
            samples += 1
        assert (buffer.size() if buffer else -1) == size
    assert samples == len(case["sample.abs_idx"])
    assert [random.random() for _ in range(2)] == case["rng_after.python2"].tolist()


def assert_uniform_sample(case, k: int, sample, records) -> None:
    batch, actions, rewards, next_batch, dones = sample
    assert (actions, rewards, dones) == (
        [r[1] for r in records],
        [r[2] for r in records],
        [r[4] for r in records],
    )
    for found, prefix in ((batch, ""), (next_batch, "next_")):
        assert found[0] == case[f"sample.{prefix}self"][k].tolist()
        if case[f"sample.{prefix}empty"][k]:
            assert found[1:] == ([], [])
        else:
            assert found[1] == case[f"sample.{prefix}objects"][k].tolist()
            assert found[2] == case[f"sample.{prefix}masks"][k].tolist()


def test_uniform_memory(golden):
    run_uniform(golden)


def test_broken_twin_with_another_seed_fails(golden):
    with pytest.raises(AssertionError):
        run_uniform(golden, seed=248)


def test_empty_batch(golden):
    case = load(golden, "memory_uniform_cap64")
    own, objects, masks = state_batch([(row, []) for row in case["empty_batch.self"].tolist()])
    assert own == case["empty_batch.self"].tolist()
    assert [len(objects), len(masks)] == case["empty_batch.objects_len"].tolist()
