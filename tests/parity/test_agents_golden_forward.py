"""Forward passes of all networks against the recorded ones, with the recorded random draws."""

import numpy as np
import pytest
import torch

from agents.agent import Agent
from agents.networks import Observation
from tests.parity.agents_golden import AGENTS, FLOAT32_FORWARD, assert_close, config, load, states

SETS = ("mixed", "empty", "single")


def outputs_ac_iqn(agent: Agent, observation: Observation, actions: torch.Tensor, seeded) -> dict:
    critic = agent.policy_local.critic
    outputs = {"actor": agent.policy_local.actor(observation)}
    for suffix, arguments in (("", (8, 1.0)), ("_K32", (32, 1.0)), ("_cvar0.4", (8, 0.4))):
        quantiles, taus = seeded(critic, observation, actions, *arguments)
        outputs |= {f"critic{suffix}.quantiles": quantiles, f"critic{suffix}.taus": taus}
    return outputs


def outputs_iqn(agent: Agent, observation: Observation, actions: torch.Tensor, seeded) -> dict:
    outputs = {}
    for suffix, arguments in (("", (8, 1.0)), ("_cvar0.4", (8, 0.4))):
        quantiles, taus = seeded(agent.policy_local, observation, *arguments)
        outputs |= {f"policy{suffix}.quantiles": quantiles, f"policy{suffix}.taus": taus}
    quantiles, taus = seeded(agent.policy_local, observation, 32)
    return outputs | {"policy_K32.mean_quantiles": quantiles.mean(dim=1), "policy_K32.taus": taus}


def outputs_ddpg(agent: Agent, observation: Observation, actions: torch.Tensor, seeded) -> dict:
    policy = agent.policy_local
    return {"actor": policy.actor(observation), "critic": policy.critic(observation, actions)}


def outputs_sac(agent: Agent, observation: Observation, actions: torch.Tensor, seeded) -> dict:
    policy = agent.policy_local
    sampled, log_prob = seeded(policy.actor, observation)
    return {
        "actor.actions": sampled,
        "actor.log_prob": log_prob,
        "actor.mu": policy.actor.distribution(observation)[0],
        "critic_1": policy.critic_1(observation, actions),
        "critic_2": policy.critic_2(observation, actions),
    }


def outputs_dqn(agent: Agent, observation: Observation, actions: torch.Tensor, seeded) -> dict:
    return {"policy": agent.policy_local(observation)}


def outputs_rainbow(agent: Agent, observation: Observation, actions: torch.Tensor, seeded) -> dict:
    policy, outputs = agent.policy_local, {}
    kept = {name: tensor.clone() for name, tensor in policy.named_buffers()}
    for mode in ("train", "eval", "resampled"):
        policy.train(mode != "eval")
        if mode == "resampled":
            seeded(policy.reset_noise)
        outputs[f"policy_{mode}.values"] = agent.learner.action_values(observation)
        outputs[f"policy_{mode}.log_probs"] = policy(observation, log=True)
        outputs[f"policy_{mode}.probs"] = policy(observation)
    policy.load_state_dict(policy.state_dict() | kept)
    policy.train()
    return outputs


OUTPUTS = {
    "AC-IQN": outputs_ac_iqn,
    "IQN": outputs_iqn,
    "DDPG": outputs_ddpg,
    "DQN": outputs_dqn,
    "SAC": outputs_sac,
    "Rainbow": outputs_rainbow,
}


def outputs(golden, agent: Agent, name: str) -> dict[str, np.ndarray]:
    inputs = load(golden, "inputs_states")
    torch_seed = config(golden)["forward"]["torch_seed"]

    def seeded(function, *arguments):
        torch.manual_seed(torch_seed)
        return function(*arguments)

    batch = states(inputs, f"{name}.")
    observation = agent._observation(batch)
    actions = torch.from_numpy(inputs["actions"][: len(batch)]).to(agent.learner.dtype)
    with torch.no_grad():
        found = OUTPUTS[agent.agent_type](agent, observation, actions, seeded)
    return {key: tensor.numpy() for key, tensor in found.items()}


def assert_outputs(golden, agent: Agent, name: str, prefix: str) -> None:
    case = load(golden, f"forward_{agent.agent_type}")
    compared = 0
    for key, value in outputs(golden, agent, name).items():
        if f"{prefix}.{name}.{key}" in case:
            expected = case[f"{prefix}.{name}.{key}"]  # the first rows only, for Rainbow's distributions
            assert_close(value[: len(expected)], expected, FLOAT32_FORWARD)
            compared += 1
    recorded = [key for key in case if key.startswith(f"{prefix}.{name}.")]
    assert compared == len(recorded) - sum(key.endswith("log_std_raw") for key in recorded)


@pytest.mark.parametrize("seed", [0, 100])
@pytest.mark.parametrize("agent_type", AGENTS)
def test_forward(golden, agent_type, seed):
    agent = Agent(seed=seed, agent_type=agent_type, BUFFER_SIZE=2)
    for name in SETS:
        assert_outputs(golden, agent, name, f"seed{seed}")


@pytest.mark.parametrize("seed", [0, 100])
def test_log_std_is_clamped_where_recorded_raw(golden, seed):
    agent = Agent(seed=seed, agent_type="SAC", BUFFER_SIZE=2)
    case = load(golden, "forward_SAC")
    for name in SETS:
        observation = agent._observation(states(load(golden, "inputs_states"), f"{name}."))
        with torch.no_grad():
            log_std = agent.policy_local.actor.distribution(observation)[1].numpy()
        assert_close(log_std, case[f"seed{seed}.{name}.actor.log_std_raw"].clip(-20, 2))


def test_resampled_noise(golden):
    case = load(golden, "forward_Rainbow")
    policy = Agent(seed=100, agent_type="Rainbow", BUFFER_SIZE=2).policy_local
    torch.manual_seed(config(golden)["forward"]["torch_seed"])
    policy.reset_noise()
    noise = dict(policy.named_buffers())
    assert list(noise) == case["seed100.resampled_noise.names"].tolist()
    sums = [tensor.double().sum().item() for tensor in noise.values()]
    assert_close(sums, case["seed100.resampled_noise.sum"])


@pytest.mark.parametrize("agent_type", AGENTS)
def test_broken_twin_with_changed_weight_fails(golden, agent_type):
    agent = Agent(seed=100, agent_type=agent_type, BUFFER_SIZE=2)
    with torch.no_grad():
        next(iter(agent.learner.acting_network.parameters())).mul_(1.0001)
    with pytest.raises(AssertionError):
        assert_outputs(golden, agent, "mixed", "seed100")


def test_broken_twin_with_encoded_padding_fails(golden):
    """Padded rows that contribute their encoded bias must show."""
    agent = Agent(seed=100, agent_type="DQN", BUFFER_SIZE=2)
    agent._observation = lambda batch: _unmasked(Agent._observation(agent, batch))
    with pytest.raises(AssertionError):
        assert_outputs(golden, agent, "mixed", "seed100")


def _unmasked(observation: Observation) -> Observation:
    return observation[0], observation[1], torch.ones_like(observation[2])
