"""The compiled update against the legacy one, from the same draws."""

from functools import partial

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from torchrl_gpu.learn.update import Update, UpdateSettings
from torchrl_gpu.replay.rows import Draw

compiled = partial(Update, settings=UpdateSettings(compile=True))


def batch_for(agent, size=64, seed=0, weighted=False):
    """A batch on the agent's device; the same numbers on any. Rainbow's has weights always."""
    generator = torch.Generator().manual_seed(seed)

    def observation():
        mask = torch.rand(size, 5, generator=generator) < 0.5
        return torch.randn(size, 7 + 25, generator=generator), mask

    action = torch.rand(size, 2, generator=generator) * 2 - 1
    if not agent.continuous:
        action = (torch.arange(size) % 25).unsqueeze(1)
    reward = torch.randn(size, 1, generator=generator)
    done = torch.rand(size, 1, generator=generator) < 0.1
    weighted = weighted or agent.learner.prioritized
    weight = torch.rand(size, generator=generator) if weighted else None
    rows = torch.cat((*observation(), action, reward, done, *observation()), dim=1)
    weight = None if weight is None else weight.to(agent.device)
    return Draw(rows.to(agent.device), weight=weight)


def trained(update, agent, updates=5, weighted=False):
    """Losses of some updates on changing batches, from one seed."""
    losses = []
    initial = agent.learner.learning_rate
    for k in range(updates):
        agent.learner.learning_rate = initial * (1 - k / 10)
        torch.manual_seed(k)
        losses.append(update(batch_for(agent, seed=k, weighted=weighted)))
    return losses


def assert_same_learning(agent_type, make_update, rtol=1e-5, weighted=False):
    legacy, fast = (Agent(agent_type=agent_type, seed=9) for _ in range(2))
    expected = trained(Update(legacy.learner), legacy, weighted=weighted)
    found = trained(make_update(fast.learner), fast, weighted=weighted)
    for a, b in zip(expected, found, strict=True):
        for name, loss in a.items():
            torch.testing.assert_close(loss, b[name], rtol=rtol, atol=1e-6)
    nets = (x.learner.networks(x.learner.policy_local).values() for x in (legacy, fast))
    for a, b in zip(*nets, strict=True):
        for key, value in a.state_dict().items():
            torch.testing.assert_close(b.state_dict()[key], value, rtol=1e-5, atol=2e-6)
    for name, optimizer in legacy.learner.optimizers.items():
        steps = [state["step"].item() for state in fast.learner.optimizers[name].state.values()]
        assert steps == [state["step"].item() for state in optimizer.state.values()]


@pytest.mark.slow
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_the_compiled_update_learns_what_the_legacy_one_does(agent_type):
    assert_same_learning(agent_type, compiled)


@pytest.mark.slow
def test_the_compiled_update_weighs_samples():
    assert_same_learning("AC-IQN", compiled, weighted=True)


@pytest.mark.parametrize("weighted", [False, True], ids=["uniform", "weighted"])
@pytest.mark.parametrize("agent_type", ["DQN", "SAC"])
def test_its_arithmetic_without_the_compiler(agent_type, weighted, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    assert_same_learning(agent_type, compiled, weighted=weighted)


def test_a_perturbed_learning_rate_is_noticed(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    def perturbed(learner):
        for optimizer in learner.optimizers.values():
            optimizer.param_groups[0]["lr"] = 1.02e-4
        return compiled(learner)

    with pytest.raises(AssertionError):
        assert_same_learning("DQN", perturbed)


def test_two_updates_draw_different_noise(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    agent = Agent(agent_type="AC-IQN", LR=0.0)
    update, batch = compiled(agent.learner), batch_for(agent)
    assert update(batch)["critic"] != update(batch)["critic"]


@pytest.mark.gpu
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_a_captured_update_learns_what_the_plain_one_does(agent_type):
    """Later updates replay a CUDA graph, each with its own batch, noise and step size."""
    plain, fast = (Agent(agent_type=agent_type, seed=9, device="cuda") for _ in range(2))
    fast_update = compiled(fast.learner)
    plain.learner.drop_empty_objects = False
    plain.learner.noise_source = "cuda"
    expected = trained(Update(plain.learner), plain, updates=8)
    found = trained(fast_update, fast, updates=8)
    for a, b in zip(expected, found, strict=True):
        for name, loss in a.items():
            torch.testing.assert_close(loss, b[name], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_two_replays_draw_different_noise():
    agent = Agent(agent_type="AC-IQN", LR=0.0, device="cuda")
    update, batch = compiled(agent.learner), batch_for(agent)
    losses = [update(batch)["critic"] for _ in range(6)]
    assert len({loss.item() for loss in losses}) == 6
