"""Model folders of the legacy code load, compute what they computed there, and are written the same."""

import pytest
import torch

from agents.models.folder import load_agent
from agents.models.weights import save_model
from tests.parity.agents_golden import FLOAT32_FORWARD, assert_close, assert_networks, load
from tests.parity.test_agents_golden_forward import outputs

RECORDED = ("AC-IQN", "IQN", "DQN", "SAC", "Rainbow")


@pytest.fixture(scope="module")
def folders(golden):
    return golden / "agents" / "checkpoints"


def assert_forwards(golden, agent):
    """Every recorded forward pass of the loaded networks; SAC's raw log σ is not one of theirs."""
    case = load(golden, f"checkpoints/forward_{agent.agent_type}")
    found = {f"mixed.{key}": value for key, value in outputs(golden, agent, "mixed").items()}
    recorded = {key for key in case if key.startswith("mixed.") and not key.endswith("log_std_raw")}
    assert recorded <= found.keys()
    for key in recorded:
        expected = case[key]  # the first rows only, for Rainbow's distributions
        assert_close(found[key][: len(expected)], expected, FLOAT32_FORWARD)


@pytest.mark.parametrize("agent_type", RECORDED)
def test_forwards_of_a_legacy_folder(agent_type, folders, golden):
    agent = load_agent(folders / agent_type)
    assert agent.agent_type == agent_type
    assert_forwards(golden, agent)


@pytest.mark.parametrize("agent_type", RECORDED)
def test_broken_twin_a_changed_weight_is_noticed(agent_type, folders, golden):
    agent = load_agent(folders / agent_type)
    with torch.no_grad():
        next(agent.learner.acting_network.parameters()).mul_(1.0001)
    with pytest.raises(AssertionError):
        assert_forwards(golden, agent)


@pytest.mark.parametrize("agent_type", RECORDED)
def test_loaded_weights_are_the_recorded_ones(agent_type, folders, golden):
    case = load(golden, f"checkpoints/forward_{agent_type}")
    agent = load_agent(folders / agent_type)
    for policy in (agent.policy_local, agent.policy_target):
        prefixed = {f"loaded.{key}": value for key, value in case.items()}
        assert_networks(prefixed, "loaded", agent, policy, rtol=0)


@pytest.mark.parametrize("agent_type", RECORDED)
def test_a_loaded_folder_is_written_the_same(agent_type, folders, tmp_path):
    save_model(load_agent(folders / agent_type).learner, tmp_path)
    originals = sorted((folders / agent_type).iterdir())
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in originals]
    for original in originals:
        written = tmp_path / original.name
        if original.suffix == ".json":
            assert written.read_bytes() == original.read_bytes()
        else:
            old, new = (torch.load(path, weights_only=True) for path in (original, written))
            assert list(old) == list(new)
            assert all(torch.equal(old[name], new[name]) for name in old)
