"""Learners that are updated together learn what each learns alone."""

from types import SimpleNamespace

import pytest
import torch

from agents.learners import LEARNERS
from agents.learners.base import Learner
from agents.models.weights import save_model
from tests.unit.test_update import COMPILED, batch_for
from torchrl_gpu.learn.stack import Stack, of_each, stacked
from torchrl_gpu.learn.update import UpdateSettings, device_update
from torchrl_gpu.learn.ways import Way
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.seeding import OwnGenerators

SEEDS = (5, 6, 7)
UPDATES = 8


def learners_of(agent_type, dtype=torch.float64, **keys) -> list[Learner]:
    kind = LEARNERS[agent_type]
    made = [kind(kind.Settings(**keys), seed=seed) for seed in SEEDS]
    for learner in made:
        learner.to_dtype(dtype)
        learner.stay_on_device()
    return made


def draw_for(learner, seed, k, weighted=False) -> Draw:
    """The batch of an update of a seed."""
    agent = SimpleNamespace(learner=learner, continuous=learner.continuous, device="cpu")
    rows, index, weight = batch_for(agent, size=16, seed=100 * seed + k, weighted=weighted)
    return Draw(rows.to(learner.dtype), index, None if weight is None else weight.to(learner.dtype))


def learn_alone(learner, seed, weighted=False):
    """Losses of some updates, from generators that begin with the seed."""
    update = device_update(learner, Way(), UpdateSettings())
    torch.manual_seed(seed)
    losses = []
    for k in range(UPDATES):
        learner.learning_rate = 1e-3 / (1 + k)
        losses.append(update(draw_for(learner, seed, k, weighted)))
        if k % 3 == 2:
            learner.update_target()
    return losses


def learn_together(learners, way, weighted):
    """The same of learners together: losses of each."""
    turns = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        turns.append(OwnGenerators("cpu").of_torch)
    stack = Stack(learners, turns)
    update = device_update(stack, way, UpdateSettings())
    losses = []
    for k in range(UPDATES):
        for learner in learners:
            learner.learning_rate = 1e-3 / (1 + k)
        draws = [draw_for(each, seed, k, weighted) for each, seed in zip(learners, SEEDS, strict=True)]
        losses.append(of_each(update(stacked(draws)), len(SEEDS)))
        if k % 3 == 2:
            for learner in learners:
                learner.update_target()
    return [list(each) for each in zip(*losses, strict=True)]


def tensors_of(state):
    """All tensors and numbers of a state, but for how an optimiser is computed."""
    if isinstance(state, dict):
        return [leaf for name, each in state.items() if name != "param_groups" for leaf in tensors_of(each)]
    if isinstance(state, list):
        return [leaf for each in state for leaf in tensors_of(each)]
    return [torch.as_tensor(state)]


def assert_same_learning(agent_type, dtype=torch.float64, way=Way(), weighted=False, rtol=1e-9):  # noqa: B008
    alone, together = (learners_of(agent_type, dtype) for _ in range(2))
    expected = [learn_alone(*each, weighted) for each in zip(alone, SEEDS, strict=True)]
    found = learn_together(together, way, weighted)
    states = [[learner.state_dict() for learner in learners] for learners in (together, alone)]
    for a, b in zip(tensors_of([found, states[0]]), tensors_of([expected, states[1]]), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol / 10)
    assert not torch.equal(*(tensors_of(learner.state_dict())[0] for learner in together[:2]))


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_three_seeds_together_learn_what_each_learns_alone(agent_type):
    assert_same_learning(agent_type)


@pytest.mark.parametrize("agent_type", ["DQN", "AC-IQN"])
def test_importance_weights_are_those_of_each(agent_type):
    assert_same_learning(agent_type, weighted=True)


def test_single_precision_agrees_to_its_rounding():
    assert_same_learning("DQN", torch.float32, rtol=1e-4)


@pytest.mark.parametrize(
    "agent_type", ["DQN", *(pytest.param(name, marks=pytest.mark.slow) for name in LEARNERS)]
)
def test_the_arithmetic_of_the_compiled_update_without_the_compiler(agent_type, monkeypatch):
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, inputs, options: graph)
    assert_same_learning(agent_type, way=COMPILED, rtol=1e-5)  # the step size is in float32


@pytest.mark.slow
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_the_compiled_update_of_a_stack(agent_type):
    assert_same_learning(agent_type, way=COMPILED, rtol=1e-5)  # the step size is in float32


def test_learners_at_different_updates_are_no_stack():
    learners = learners_of("DQN")
    learners[1].updates = 3
    with pytest.raises(ValueError, match=r"updates made are \[0, 3, 0\], must be equal"):
        Stack(learners)


def test_a_saved_model_of_one_of_many_holds_no_other(tmp_path):
    learners = learners_of("DQN", torch.float32)
    sizes = []
    for _ in range(2):
        save_model(learners[1], tmp_path)
        sizes.append((tmp_path / "network_params.pth").stat().st_size)
        Stack(learners)
    assert sizes[0] == sizes[1]
