"""Construction of the six agents against the recorded ones: networks and generators."""

import pytest

from agents.legacy.agent import LegacyAgent
from tests.parity.agents_golden import (
    AGENTS,
    assert_generators,
    assert_networks,
    config,
    load,
    seed_generators,
)


def built(golden, agent_type: str, seed: int) -> LegacyAgent:
    seed_generators(config(golden)["init"]["pre_seeds"])
    return LegacyAgent(device="cpu", seed=seed, agent_type=agent_type, BUFFER_SIZE=2000)


@pytest.mark.parametrize("seed", [0, 100])
@pytest.mark.parametrize("agent_type", AGENTS)
def test_networks_and_generators(golden, agent_type, seed):
    case = load(golden, f"init_{agent_type}")
    agent = built(golden, agent_type, seed)
    assert_generators(case, f"seed{seed}.rng")
    assert_networks(case, f"seed{seed}.local", agent, agent.policy_local, rtol=1e-7)
    assert_networks(case, f"seed{seed}.target", agent, agent.policy_target, rtol=1e-7)


@pytest.mark.parametrize("agent_type", AGENTS)
def test_shapes(golden, agent_type):
    case = load(golden, f"init_{agent_type}")
    agent = LegacyAgent(seed=0, agent_type=agent_type, BUFFER_SIZE=2)
    for name, network in agent.learner.networks(agent.policy_local).items():
        shapes = case[f"seed0.local.{'policy' if name == 'network' else name}.shapes"]
        expected = [tuple(size for size in shape if size > 0) for shape in shapes.tolist()]
        assert [tuple(tensor.shape) for tensor in network.state_dict().values()] == expected


def test_broken_twin_of_another_seed_fails(golden):
    case = load(golden, "init_AC-IQN")
    agent = built(golden, "AC-IQN", 1)
    with pytest.raises(AssertionError):
        assert_networks(case, "seed0.local", agent, agent.policy_local, rtol=1e-7)
    with pytest.raises(AssertionError):
        assert_generators(case, "seed0.rng")


def test_broken_twin_with_another_construction_order_fails(golden):
    """DDPG's critic has AC-IQN's layers but one: building it in AC-IQN's place must show."""
    case = load(golden, "init_AC-IQN")
    agent = built(golden, "DDPG", 0)
    with pytest.raises(AssertionError):
        assert_networks(case, "seed0.local", agent, agent.policy_local, rtol=1e-7)
