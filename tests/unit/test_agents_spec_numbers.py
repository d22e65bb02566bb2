"""The numbers of agents spec 14, through the public API."""

import math
import random

import numpy as np
import pytest
import torch

from agents.legacy.agent import LegacyAgent

STATE_SELF = [0.1 * i for i in range(1, 8)]
OBJECTS = [[1, 2, 0.1, -0.2, 1], [-3, 4, 0.3, 0.2, 2.8]]
STATE = STATE_SELF, OBJECTS
ACTION = torch.tensor([[0.5, -0.25]])


def agent_of(agent_type: str, **kw) -> LegacyAgent:
    return LegacyAgent(seed=100, agent_type=agent_type, BUFFER_SIZE=1000, **kw)


def parameter_sums(agent: LegacyAgent) -> dict[str, float]:
    return {
        name: sum(parameter.detach().double().sum().item() for parameter in network.parameters())
        for name, network in agent.learner.networks(agent.policy_local).items()
    }


# 14.1: Σθ and Σ|θ| per network, random.random() and torch.rand(3) after construction.
CONSTRUCTION = {
    "AC-IQN": (
        {"actor": (-17.181540002, 1910.03275105), "critic": (-27.6076834759, 3078.01533029)},
        (0.439436853, 0.868702471, 0.667430699),
    ),
    "IQN": ({"network": (-16.3463946626, 3081.44585909)}, (0.794604301, 0.920480788, 0.439901412)),
    "DDPG": (
        {"actor": (-17.181540002, 1910.03275105), "critic": (-10.556404172, 2039.91720808)},
        (0.647924483, 0.171895444, 0.194379032),
    ),
    "DQN": ({"network": (-26.1761724947, 2042.20138753)}, (0.332853794, 0.648344219, 0.224411011)),
    "SAC": (
        {
            "actor": (-17.0706223265, 1921.1501169),
            "critic_1": (-10.556404172, 2039.91720808),
            "critic_2": (-27.1062836201, 2041.94062932),
        },
        (0.310495853, 0.708328009, 0.605021179),
    ),
    "Rainbow": ({"network": (1106.9560387, 12307.6444177)}, (0.665868104, 0.598311007, 0.702281535)),
}


@pytest.mark.parametrize("agent_type", CONSTRUCTION)
def test_construction(agent_type):
    expected, torch_numbers = CONSTRUCTION[agent_type]
    random.seed(0)
    untouched = random.getstate()
    agent = agent_of(agent_type)
    assert torch.rand(3).tolist() == pytest.approx(torch_numbers, abs=1e-7)
    if agent_type == "Rainbow":
        assert random.getstate() == untouched
    else:
        assert random.random() == 0.2710880606085726
    for name, network in agent.learner.networks(agent.policy_local).items():
        parameters = [parameter.detach().double() for parameter in network.parameters()]
        sums = sum(p.sum().item() for p in parameters), sum(p.abs().sum().item() for p in parameters)
        assert sums == pytest.approx(expected[name], abs=1e-6)


def test_rainbow_noise():
    policy = agent_of("Rainbow").policy_local

    def noise() -> tuple[float, float, list[float]]:
        buffers = [tensor.double() for tensor in policy.buffers()]
        sums = sum(b.sum().item() for b in buffers), sum(b.abs().sum().item() for b in buffers)
        return *sums, policy.hidden_layer_v.bias_epsilon[:3].tolist()

    total, absolute, first = noise()
    assert (total, absolute) == pytest.approx((135.121967, 174979.9709), abs=1e-3)
    assert first == pytest.approx([0.666423142, 0.92525512, -0.418987364], abs=1e-7)
    torch.manual_seed(1234)
    policy.reset_noise()
    total, absolute, first = noise()
    assert (total, absolute) == pytest.approx((282.781405, 185222.2274), abs=1e-3)
    assert first == pytest.approx([-1.18796098, 0.141346842, -0.641504467], abs=1e-7)
    assert torch.rand(1).item() == pytest.approx(0.895974994, abs=1e-7)


def outputs(agent_type: str, state) -> list[float]:
    """What 14.2 lists, in its order."""
    agent = agent_of(agent_type)
    observation, policy = agent._observation([state]), agent.policy_local
    torch.manual_seed(42)
    with torch.no_grad():
        if agent_type == "AC-IQN":
            quantiles, taus = policy.critic(observation, ACTION)
            assert taus[0, :3, 0].tolist() == pytest.approx([0.882269263, 0.915003955, 0.38286376])
            return [*policy.actor(observation)[0], *quantiles[0, :2], quantiles.mean()]
        if agent_type == "IQN":
            quantiles, _ = policy(observation, policy.K)
            return [*quantiles[0, 0, :3], quantiles.mean(dim=1).argmax(), quantiles.sum()]
        if agent_type == "DDPG":
            return [*policy.actor(observation)[0], policy.critic(observation, ACTION)]
        if agent_type == "DQN":
            values = policy(observation)[0]
            return [*values[:2], values.argmax(), values.sum()]
        if agent_type == "SAC":
            action, log_density = policy.actor(observation)
            critics = policy.critic_1(observation, ACTION), policy.critic_2(observation, ACTION)
            return [*action[0], log_density, *critics]
        return [*rainbow_outputs(agent, observation), *rainbow_outputs(agent, observation, mode="eval")]


def rainbow_outputs(agent: LegacyAgent, observation, mode: str = "train") -> list:
    agent.policy_local.train(mode == "train")
    values = agent.learner.action_values(observation)
    return [*agent.policy_local(observation)[0, 0, :2], values.argmax(), values.sum()]


WITH_OBJECTS = {
    "AC-IQN": [0.0110943364, -0.0711427182, 0.0182308573, 0.021050686, 0.0188579666],
    "IQN": [-0.0573316738, -0.0336452425, -0.0884965509, 13, 9.72992221],
    "DDPG": [0.0110943364, -0.0711427182, -0.00277055055],
    "DQN": [0.0419720188, -0.0961713269, 6, -0.0591131579],
    "SAC": [0.204886049, 0.014623234, -1.84469283, -0.00277055055, -0.0568292961],
    "Rainbow": [0.019428134, 0.0167293195, 24, 0.0714553976, 0.0194241181, 0.0167445317, 24, 0.0789670907],
}
WITHOUT_OBJECTS = {
    "AC-IQN": [0.0332674161, -0.0574906357, 0.0209420603, 0.0215635579, 0.021022652],
    "IQN": [-0.0375629887, -0.0315938219, -0.0938599929, 7, 10.2170764],
    "DDPG": [0.0332674161, -0.0574906357, -0.0156748183],
    "DQN": [0.0768472701, -0.0745054558, 5, 0.202957818],
    "SAC": [0.234353423, 0.0245724022, -1.83873606, -0.0156748183, -0.0451164618],
    "Rainbow": [
        0.020358365,
        0.0190300997,
        20,
        -0.00988502614,
        0.0202680249,
        0.0189660843,
        20,
        -0.00192510849,
    ],
}


@pytest.mark.parametrize("agent_type", CONSTRUCTION)
def test_forward(agent_type):
    found = [float(value) for value in outputs(agent_type, STATE)]
    assert found == pytest.approx(WITH_OBJECTS[agent_type], abs=1e-6, rel=1e-6)
    found = [float(value) for value in outputs(agent_type, (STATE_SELF, []))]
    assert found == pytest.approx(WITHOUT_OBJECTS[agent_type], abs=1e-6, rel=1e-6)


EXPLORED = [(-0.639460622, -0.961049517), None, (-0.073562947, 0.449867858), (-0.159592791, -0.0291458037)]
GREEDY = (0.0110943364, -0.0711427182)
ACTS = {
    "AC-IQN": [EXPLORED[0], GREEDY, *EXPLORED[2:], GREEDY, GREEDY],
    "DDPG": [EXPLORED[0], GREEDY, *EXPLORED[2:], GREEDY, GREEDY],
    "SAC": [
        EXPLORED[0],
        (-0.672728658, 0.0570875853),
        *EXPLORED[2:],
        (0.567498386, -0.21006079),
        (0.213426635, -0.42406112),
    ],
    "IQN": [19, 19, 22, 22, 22, 13],
    "DQN": [19, 19, 6, 6, 6, 6],
    "Rainbow": [21, 11, 0, 24, 20, 24],
}


@pytest.mark.parametrize("agent_type", ACTS)
def test_six_acts(agent_type):
    agent = agent_of(agent_type)
    np.random.seed(11)
    if agent_type == "Rainbow":
        random.seed(12)
    actions = [agent.act(STATE, eps=0.6, use_eval=False) for _ in range(6)]
    for action, expected in zip(actions, ACTS[agent_type], strict=True):
        assert action == pytest.approx(expected, abs=1e-6)


FIRST_TEN = {
    65: [34, 35, 38, 55, 40, 39, 60, 58, 31, 49],
    100: [34, 74, 77, 35, 76, 80, 78, 81, 94, 63],
    277: [138, 142, 253, 80, 4, 223, 257, 208, 41, 181],
    278: [138, 142, 253, 277, 80, 4, 223, 257, 208, 41],
    2000: [555, 1193, 1754, 1237, 569, 1223, 1764, 1280, 1256, 1296],
}


@pytest.mark.parametrize("size", FIRST_TEN)
def test_uniform_sample_indices(size):
    agent = agent_of("DQN") if size < 1000 else LegacyAgent(seed=100, agent_type="DQN", BUFFER_SIZE=size)
    for index in range(size):
        agent.store((STATE_SELF, []), index, 0.0, (STATE_SELF, []), False)
    random.seed(249)
    assert agent.memory.sample()[1][:10] == FIRST_TEN[size]


def synthetic_state(j: int):
    objects = [[0.5 * math.cos(0.05 * (j + 1) * (k + 1) * (c + 1)) for c in range(5)] for k in range(j % 6)]
    return [math.sin(0.1 * (j + 1) * (i + 1)) for i in range(7)], objects


def synthetic_agent(agent_type: str) -> LegacyAgent:
    """The agent and memory of 14.4, generators seeded for the first update."""
    agent = agent_of(agent_type)
    for j in range(400 if agent_type == "Rainbow" else 100):
        action = [math.sin(0.3 * j), math.cos(0.7 * j)] if agent.continuous else (7 * j) % 25
        reward = 0.1 * (j % 11 - 5)
        agent.store(synthetic_state(j), action, reward, synthetic_state(j + 1), j % 13 == 12)
    if agent_type == "Rainbow":
        np.random.seed(77)
    torch.manual_seed(1234)
    return agent


# 14.4: losses of calls 1, 2, 5, and Σθ after calls 1 and 5.
UPDATES = {
    "AC-IQN": (
        [(0.201141104, -0.02077673), (0.179004043, -0.0213176031), (0.224649146, -0.0212795213)],
        [(-17.155092434, -27.443675173), (-17.035616195, -26.803882104)],
    ),
    "IQN": ([0.22397837, 0.21505858, 0.212848112], [(-16.251393846,), (-16.241543723,)]),
    "DDPG": (
        [(0.0515721031, 0.0159164611), (0.0449465662, 0.0155022619), (0.0534447841, 0.0154118771)],
        [(-17.290966703, -10.731155213), (-17.2545055, -11.459124952)],
    ),
    "DQN": ([0.0570744909, 0.0530526713, 0.0574267246], [(-26.265066648,), (-26.404697961,)]),
    "SAC": (
        [
            (0.12360321, 0.133987501, -0.134504497),
            (0.12514171, 0.1374899, -0.146719858),
            (0.130043104, 0.136986539, -0.154011264),
        ],
        [(-17.302354627, -10.536032151, -26.979766906), (-18.112510351, -10.388169063, -26.370430223)],
    ),
    "Rainbow": ([3.93086804, 3.92918491, 3.92176662], [(1107.6962923,), (1107.9192648,)]),
}


@pytest.mark.parametrize("agent_type", UPDATES)
def test_five_updates(agent_type):
    losses, sums = UPDATES[agent_type]
    agent = synthetic_agent(agent_type)
    for call in range(1, 6):
        found = agent.train()
        if agent_type == "Rainbow":
            assert found.shape == (64,)
            found = found.mean()
        if call in (1, 2, 5):
            assert np.array(found) == pytest.approx(np.array(losses[(1, 2, 5).index(call)]), rel=1e-6)
        if call in (1, 5):
            expected = sums[(1, 5).index(call)]
            assert list(parameter_sums(agent).values()) == pytest.approx(expected, abs=1e-4)
    if agent_type != "Rainbow":
        assert random.random() == 0.7911362098330462


def test_rainbow_update_details():
    agent = synthetic_agent("Rainbow")
    tree, samples = agent.memory.transitions, []
    sample = agent.memory.sample
    agent.memory.sample = lambda size: samples.append(sample(size)) or samples[-1]
    assert tree.total() == 400
    losses = agent.train()
    assert tree.total() == pytest.approx(462.887665, rel=1e-6)
    assert tree.max == pytest.approx(2.01382971, rel=1e-6)
    assert np.random.uniform() == 0.8574458883976873
    first = samples[0]
    assert (first.index[:10] - 1023).tolist() == [5, 10, 17, 19, 25, 36, 39, 47, 51, 59]
    assert (first.index[-3:] - 1023).tolist() == [383, 388, 395]
    expected = [0.29501998, -0.38703999, 0.59203005, 1.1860499, -0.2]
    assert first.reward[:5, 0].tolist() == pytest.approx(expected, rel=1e-6)
    assert first.not_done.sum() == 48
    assert losses[:3].tolist() == pytest.approx([3.91745567, 3.9171555, 3.94485235], rel=1e-6)


def test_rainbow_tree_after_five_updates():
    agent = synthetic_agent("Rainbow")
    for _ in range(5):
        agent.train()
    assert agent.memory.transitions.total() == pytest.approx(582.513489, rel=1e-6)
    assert agent.memory.transitions.max == pytest.approx(2.01382971, rel=1e-6)
