"""Training goes on from a model folder: the optimisers move the loaded networks, and no loss changes."""

import copy
import random

import numpy as np
import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.legacy.agent import LegacyAgent
from tests.parity.agents_golden import config, filled_agent, seed_generators
from tests.unit.test_agents_losses import turns


def losses(agent, calls):
    """Losses of successive updates, one after the other."""
    return np.concatenate([np.ravel(agent.train()) for _ in range(calls)])


def ten_losses_twice(golden, agent_type, folder, with_moments=True):
    """Ten losses of a run that goes on, and of one rebuilt from its folder and what that does not hold."""
    run = filled_agent(golden, agent_type)
    seed_generators(config(golden)["update"][0]["seeds"])
    losses(run, 5)
    run.save_latest_model(folder)
    rebuilt = LegacyAgent(agent_type=agent_type, seed=7, BUFFER_SIZE=2000)
    rebuilt.load_model(folder)
    rebuilt.memory = copy.deepcopy(run.memory)
    for name, network in run.learner.networks(run.policy_target).items():
        rebuilt.learner.networks(rebuilt.policy_target)[name].load_state_dict(network.state_dict())
    rebuilt.learner.updates = run.learner.updates
    if with_moments:
        for name, optimizer in run.learner.optimizers.items():
            rebuilt.learner.optimizers[name].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    uninterrupted = losses(run, 10)
    random.setstate(generators[0])
    np.random.set_state(generators[1])
    torch.set_rng_state(generators[2])
    return uninterrupted, losses(rebuilt, 10)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_the_next_ten_losses_equal_those_of_the_uninterrupted_run(agent_type, golden, tmp_path):
    uninterrupted, rebuilt = ten_losses_twice(golden, agent_type, tmp_path)
    assert np.array_equal(uninterrupted, rebuilt)


def test_broken_twin_lost_adam_moments_change_the_losses(golden, tmp_path):
    uninterrupted, rebuilt = ten_losses_twice(golden, "AC-IQN", tmp_path, with_moments=False)
    assert uninterrupted[0] == rebuilt[0]
    assert not np.array_equal(uninterrupted, rebuilt)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_a_loaded_agent_learns(agent_type, golden, tmp_path):
    # Defects A12 and T10: the legacy optimisers went on stepping the networks that had been replaced.
    Agent(agent_type=agent_type, seed=3).save_latest_model(tmp_path)
    agent = filled_agent(golden, agent_type)
    agent.load_model(tmp_path)
    networks = agent.learner.networks(agent.policy_local).values()
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    losses(agent, turns(agent.learner))
    for network, old in zip(networks, before, strict=True):
        assert any(not torch.equal(network.state_dict()[name], old[name]) for name in old)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_the_target_starts_as_a_copy_of_the_loaded_networks(agent_type, tmp_path):
    Agent(agent_type=agent_type, seed=3).save_latest_model(tmp_path)
    agent = Agent(agent_type=agent_type, seed=4, BUFFER_SIZE=2)
    agent.load_model(tmp_path)
    policies = (agent.policy_local, agent.policy_target)
    local, target = (agent.learner.networks(policy) for policy in policies)
    for name in local:
        for key, tensor in local[name].state_dict().items():
            assert torch.equal(tensor, target[name].state_dict()[key])


def test_loading_touches_no_generator(tmp_path):
    Agent(agent_type="SAC", seed=3).save_latest_model(tmp_path)
    agent = Agent(agent_type="SAC", seed=4, BUFFER_SIZE=2)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    agent.load_model(tmp_path)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
