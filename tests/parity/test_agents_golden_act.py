"""Sixty actions in a row per setting, with the recorded draws of the three generators."""

import numpy as np
import pytest
import torch

from agents.agent import Agent
from agents.batch import state_batch
from tests.parity.agents_golden import (
    AGENTS,
    FLOAT32_FORWARD,
    assert_close,
    assert_generators,
    config,
    load,
    seed_generators,
    states,
)

SETTINGS = [
    (agent_type, eps, use_eval, None)
    for agent_type in AGENTS
    for eps in (0.0, 0.3, 1.0)
    for use_eval in (True, False)
]


def assert_acts(golden, agent: Agent, eps: float, use_eval: bool, cvar: float | None) -> None:
    case = load(golden, f"act_{agent.agent_type}")
    prefix = f"eps{eps}_eval{int(use_eval)}" + ("" if cvar is None else f"_cvar{cvar}")
    seed_generators(config(golden)["act"]["seeds"])
    batch = states(load(golden, "inputs_states"), "act.")
    actions = [agent.act(state, eps, 1.0 if cvar is None else cvar, use_eval) for state in batch]
    expected = case[f"{prefix}.actions"]
    if agent.continuous:
        assert_close(actions, expected, FLOAT32_FORWARD)
    else:
        assert [int(action) for action in actions] == expected.tolist()
    assert_generators(case, f"{prefix}.rng_after")


@pytest.fixture(scope="module")
def agents(golden):
    seed = config(golden)["act"]["agent_seed"]
    return {name: Agent(seed=seed, agent_type=name) for name in AGENTS}


@pytest.mark.parametrize(
    ("agent_type", "eps", "use_eval", "cvar"),
    [*SETTINGS, ("AC-IQN", 0.3, True, 0.5), ("IQN", 0.3, True, 0.5)],
)
def test_act(golden, agents, agent_type, eps, use_eval, cvar):
    assert_acts(golden, agents[agent_type], eps, use_eval, cvar)


@pytest.mark.parametrize("cvar", [None, 0.5])
def test_iqn_returns_what_it_acted_on(golden, agents, cvar):
    case = load(golden, "act_IQN")
    prefix = "eps0.3_eval1" + ("" if cvar is None else f"_cvar{cvar}")
    seed_generators(config(golden)["act"]["seeds"])
    batch = states(load(golden, "inputs_states"), "act.")
    agent, results = agents["IQN"], []
    for state in batch:
        observation = agent.state_to_tensor(state_batch([state]))
        quantiles, taus = agent.learner.sample_quantiles(observation, cvar or 1.0)
        action = agent.learner.choose(quantiles.mean(dim=1), 0.3)
        results.append((action, quantiles.detach().numpy(), taus.numpy()))
    assert [int(action) for action, _, _ in results] == case[f"{prefix}.actions"].tolist()
    quantiles, taus = (np.concatenate([result[k] for result in results]) for k in (1, 2))
    assert [*results[0][1].shape, *results[0][2].shape] == case[f"{prefix}.shapes"].tolist()
    assert_close(quantiles[:, 0, :5], case[f"{prefix}.quantiles_first5"])
    assert_close(taus[:, :4, 0], case[f"{prefix}.taus_first4"])
    assert_close(quantiles.mean(axis=1), case[f"{prefix}.mean_quantiles"])


@pytest.mark.parametrize("agent_type", AGENTS)
def test_broken_twin_with_another_epsilon_fails(golden, agents, monkeypatch, agent_type):
    learner = agents[agent_type].learner
    act = learner.act
    monkeypatch.setattr(learner, "act", lambda state, eps, *rest: act(state, eps + 0.05, *rest))
    with pytest.raises(AssertionError):
        assert_acts(golden, agents[agent_type], 0.3, True, None)


def test_broken_twin_that_skips_a_draw_fails(golden, agents, monkeypatch):
    """Without its fractions drawn on explored actions, IQN's torch generator lags behind."""
    quantiles = torch.zeros(1, 32, 25)
    monkeypatch.setattr(agents["IQN"].learner, "sample_quantiles", lambda *_: (quantiles, None))
    with pytest.raises(AssertionError):
        assert_acts(golden, agents["IQN"], 1.0, True, None)
