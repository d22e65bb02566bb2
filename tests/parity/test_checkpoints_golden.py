"""Model folders of the legacy code load, compute what they computed there, and are written the same."""

import hashlib
import json

import numpy as np
import pytest
import torch

from agents.checkpoint import load_agent, save_model

RECORDED = ("AC-IQN", "IQN", "DQN", "SAC", "Rainbow")


@pytest.fixture(scope="module")
def folders(golden):
    return golden / "agents" / "checkpoints"


@pytest.fixture(scope="module")
def settings(golden):
    return json.loads((golden / "agents" / "config.json").read_text())["forward"]


@pytest.fixture(scope="module")
def inputs(golden):
    """The `mixed` set as an observation, and actions for critics."""
    arrays = np.load(golden / "agents" / "inputs_states.npz")
    mask = np.arange(5) < arrays["mixed.counts"][:, None]
    parts = (arrays["mixed.self"], arrays["mixed.objects"], mask)
    return tuple(torch.tensor(part, dtype=torch.float32) for part in parts), torch.tensor(arrays["actions"])


def forwards(algorithm, inputs, torch_seed):
    """Every recorded forward of a loaded agent; each stochastic one is seeded by itself."""
    observation, actions = inputs

    def seeded(call):
        torch.manual_seed(torch_seed)
        return call()

    def quantiles(name, call):
        for suffix, arguments in (("", {}), ("_K32", {"num_tau": 32}), ("_cvar0.4", {"cvar": 0.4})):
            values, taus = seeded(lambda arguments=arguments: call(**arguments))
            values = {f"{name}{suffix}.quantiles": values}
            if (name, suffix) == ("policy", "_K32"):
                values = {"policy_K32.mean_quantiles": values["policy_K32.quantiles"].mean(dim=1)}
            yield from (values | {f"{name}{suffix}.taus": taus}).items()

    policy = algorithm.policy_local
    if algorithm.name == "AC-IQN":
        yield "actor", policy.actor(observation)
        yield from quantiles("critic", lambda **kw: policy.critic(observation, actions, **kw))
    elif algorithm.name == "IQN":
        yield from quantiles("policy", lambda **kw: policy(observation, **kw))
    elif algorithm.name == "DQN":
        yield "policy", policy(observation)
    elif algorithm.name == "SAC":
        sampled, log_density = seeded(lambda: policy.actor(observation))
        yield "actor.actions", sampled
        yield "actor.log_prob", log_density
        yield "actor.mu", policy.actor.distribution(observation)[0]
        yield "critic_1", policy.critic_1(observation, actions)
        yield "critic_2", policy.critic_2(observation, actions)
    elif algorithm.name == "Rainbow":
        for mode in ("train", "eval"):
            policy.train(mode == "train")
            yield f"policy_{mode}.values", algorithm.action_values(observation)
            yield f"policy_{mode}.log_probs", policy(observation, log=True)[:2]


@torch.no_grad()
def compare(algorithm, recorded, inputs, torch_seed):
    """Names of the forwards that differ from the recording by more than float32 rounding.

    Thrusts of hundreds of newtons enter unscaled, and their sums cancel: another vector instruction set moves
    outputs of order 1 by up to 2e-6 (measured between AVX2 and AVX-512).
    """
    return [
        name
        for name, value in forwards(algorithm, inputs, torch_seed)
        if not np.allclose(value.numpy(), recorded[f"mixed.{name}"], rtol=1e-6, atol=5e-6)
    ]


@pytest.mark.parametrize("agent_type", RECORDED)
def test_forwards_of_a_legacy_folder(agent_type, folders, inputs, settings):
    agent = load_agent(folders / agent_type)
    assert agent.agent_type == agent_type
    recorded = np.load(folders / f"forward_{agent_type}.npz")
    assert compare(agent.algorithm, recorded, inputs, settings["torch_seed"]) == []


@pytest.mark.parametrize("agent_type", RECORDED)
def test_broken_twin_a_changed_weight_is_noticed(agent_type, folders, inputs, settings):
    agent = load_agent(folders / agent_type)
    with torch.no_grad():
        next(agent.acting_network.parameters()).mul_(1.001)
    recorded = np.load(folders / f"forward_{agent_type}.npz")
    assert compare(agent.algorithm, recorded, inputs, settings["torch_seed"]) != []


@pytest.mark.parametrize("agent_type", RECORDED)
def test_loaded_weights_are_the_recorded_ones_bit_for_bit(agent_type, folders):
    recorded = np.load(folders / f"forward_{agent_type}.npz")
    algorithm = load_agent(folders / agent_type).algorithm
    for policy in (algorithm.policy_local, algorithm.policy_target):
        for name, network in algorithm.networks(policy).items():
            weights = network.state_dict()
            prefix = "policy" if name == "network" else name
            assert list(weights) == recorded[f"{prefix}.names"].tolist()
            digests = [hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for tensor in weights.values()]
            assert digests == recorded[f"{prefix}.sha256"].tolist()


@pytest.mark.parametrize("agent_type", RECORDED)
def test_a_loaded_folder_is_written_the_same(agent_type, folders, tmp_path):
    save_model(load_agent(folders / agent_type).algorithm, tmp_path)
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
