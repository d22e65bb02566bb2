"""The compiled update against the legacy one, from the same draws."""

import copy
import re
from functools import partial

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs.torchrl_gpu.compilation import told
from torchrl_gpu.learn.update import Update
from torchrl_gpu.learn.ways import Way
from torchrl_gpu.replay.rows import Draw

COMPILED = Way(compiled=True, captured=torch.cuda.is_available())
compiled = partial(Update, way=COMPILED)


@pytest.fixture
def no_compiler(monkeypatch):
    """What the compiler is given is computed as it is."""
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, inputs, options: graph)


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


@pytest.mark.parametrize(
    ("agent_type", "weighted"), [("DQN", False), ("DQN", True), ("SAC", True), ("TD3", False)]
)
def test_its_arithmetic_without_the_compiler(agent_type, weighted, no_compiler):
    assert_same_learning(agent_type, compiled, weighted=weighted)


def test_a_perturbed_learning_rate_is_noticed(no_compiler):
    def perturbed(learner):
        for optimizer in learner.optimizers.values():
            optimizer.param_groups[0]["lr"] = 1.02e-4
        return compiled(learner)

    with pytest.raises(AssertionError):
        assert_same_learning("DQN", perturbed)


def test_tracing_learns_nothing(no_compiler):
    agent = Agent(agent_type="DQN")
    states = [copy.deepcopy(agent.learner.state_dict()) for _ in range(2)]
    update = compiled(agent.learner)
    update(batch_for(agent))
    assert agent.learner.state_dict()["optimizers"]["network"]["state"][0]["step"] == 1
    agent.learner.load_state_dict(states[0])
    update(batch_for(agent))  # the graph is made anew, for the state that was loaded
    steps = agent.learner.state_dict()["optimizers"]["network"]["state"]
    assert [state["step"].item() for state in steps.values()] == [1.0] * len(steps)


def broken(graph, inputs, options):
    raise OSError("no compiler here\nmany lines")


def test_where_nothing_compiles_it_says_so_in_a_line_and_goes_on(monkeypatch):
    monkeypatch.setattr(torch._inductor, "compile", broken)
    lines = []
    with told(lines.append):
        assert_same_learning("Rainbow", partial(Update, way=Way(compiled=True, optional=True)))
    assert lines[1:] == [
        "the update cannot be compiled: OSError: no compiler here many lines; it goes on without"
    ]


def test_where_nothing_compiles_it_is_refused_if_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch._inductor, "compile", broken)
    agent = Agent(agent_type="DQN")
    with pytest.raises(RuntimeError, match=r"cannot be compiled: OSError: no compiler .*\"auto\" goes on"):
        compiled(agent.learner)(batch_for(agent))


def test_it_says_what_is_compiled_and_how_long_it_took(no_compiler):
    agent, lines = Agent(agent_type="DQN"), []
    update = compiled(agent.learner)
    with told(lines.append):
        for _ in range(2):
            update(batch_for(agent))
    begin, end = lines
    assert begin.startswith("compiling the update; ")
    assert re.fullmatch(r"compiled the update in \d+ s", end)


def test_two_updates_draw_different_noise(no_compiler):
    agent = Agent(agent_type="AC-IQN", LR=0.0)
    update, batch = compiled(agent.learner), batch_for(agent)
    assert update(batch)["critic"] != update(batch)["critic"]


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_a_captured_update_learns_what_the_plain_one_does(agent_type, compile):
    """Later updates replay a CUDA graph, each with its own batch, noise and step size."""
    plain, fast = (Agent(agent_type=agent_type, seed=9, device="cuda") for _ in range(2))
    fast_update = Update(fast.learner, Way(compile, captured=True))
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
    update, batch = Update(agent.learner, Way(captured=True)), batch_for(agent)
    losses = [update(batch)["critic"] for _ in range(6)]
    assert len({loss.item() for loss in losses}) == 6
