"""Traced networks: numbers and signatures of the legacy export, and folder -> traced -> agent in float64."""

import warnings

import numpy as np
import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.exported import export_model
from agents.models.folder import load_agent
from agents.models.traced import traced_name

STATE = [0.1 * (i + 1) for i in range(7)], [[1, 2, 0.1, -0.2, 1], [-3, 4, 0.3, 0.2, 2.8]]
TAUS = torch.linspace(1 / 64, 63 / 64, 32, dtype=torch.float64).unsqueeze(0)
SHAPES = {
    "AC-IQN": [(1, 2)],
    "DDPG": [(1, 2)],
    "SAC": [(1, 2), (1, 2)],
    "DQN": [(1, 25)],
    "Rainbow": [(1, 25, 51)],
    "IQN": [(1, 32, 25)],
}
ROUND_TRIP = 1e-12


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """For each agent type: its folder, the float64 agent of the folder, the traced file."""
    root = tmp_path_factory.mktemp("exported")
    models = {}
    for agent_type in LEARNERS:
        folder = root / agent_type
        folder.mkdir()
        Agent(agent_type=agent_type, seed=100, training=False).save_latest_model(folder)
        agent = load_agent(folder, dtype=torch.float64)
        path = root / traced_name(agent_type)
        export_model(agent.learner, path)
        models[agent_type] = folder, agent, path
    return models


def planner_call(path, agent_type, state):
    """Load and call a file as the vehicle does; the outputs as a list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = torch.jit.load(path)
    with torch.no_grad():
        outputs = model(state, TAUS) if agent_type == "IQN" else model(state)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def random_states(number, seed=5):
    """Observation pairs in the units of the world, with 0 to 5 objects."""
    random = np.random.RandomState(seed)
    scale = [30, 30, 2, 1, 0.5, 500, 500]
    return [
        (
            (random.uniform(-1, 1, 7) * scale).tolist(),
            (random.uniform(-1, 1, (random.randint(6), 5)) * [20, 20, 2, 2, 3]).tolist(),
        )
        for _ in range(number)
    ]


def planner_observation(state):
    """The padded float64 triple of the planner; it has no `None` branch."""
    own, objects = state
    padded = np.zeros((1, 5, 5))
    padded[0, : len(objects)] = np.reshape(objects, (-1, 5))
    mask = (np.arange(5) < len(objects)).astype(float)
    return tuple(torch.tensor(part, dtype=torch.float64) for part in ([own], padded, mask[None]))


@pytest.mark.parametrize("agent_type", SHAPES)
def test_numbers_of_the_legacy_export(agent_type, exported):
    # agents spec 14.2, "Float64 export of the same networks"; eleven digits are given.
    outputs = planner_call(exported[agent_type][2], agent_type, planner_observation(STATE))
    expected = {
        "AC-IQN": lambda a: (a, [[0.0110943353804, -0.0711427156906]]),
        "DDPG": lambda a: (a, [[0.0110943353804, -0.0711427156906]]),
        "SAC": lambda mean, log_std: (
            torch.cat((mean, log_std)),
            [[0.0174287056555, -0.112218241321], [-0.0634288542511, 0.048365195919]],
        ),
        "DQN": lambda q: (torch.stack((q[0, 0], q.sum())), [0.0419720171024, -0.0591131771656]),
        "Rainbow": lambda p: (p[0, 0, 0], 0.0194241165572),
        "IQN": lambda z: (
            torch.stack((z[0, 0, 0], z.sum(), z.mean(dim=1).argmax())),
            [-0.066479515825, 9.78894194938, 22],
        ),
    }
    value, reference = expected[agent_type](*outputs)
    # The float32 weights come from torch's CPU initialiser; their last bit differs between instruction sets.
    np.testing.assert_allclose(value.numpy(), reference, rtol=0, atol=1e-9)


@pytest.mark.parametrize("agent_type", SHAPES)
def test_signature_of_the_planner(agent_type, exported):
    _, agent, path = exported[agent_type]
    outputs = planner_call(path, agent_type, planner_observation(STATE))
    assert [tuple(output.shape) for output in outputs] == SHAPES[agent_type]
    assert all(output.dtype == torch.float64 for output in outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        weights = torch.jit.load(path).state_dict()
    assert list(weights) == list(agent.learner.acting_network.state_dict())
    assert all(tensor.dtype == torch.float64 for tensor in weights.values())


def values(agent, state):
    """What an agent decides on, in full: the action, or the values of all actions."""
    torch.manual_seed(1)
    observation = agent._observation([state])
    with torch.no_grad(), agent.learner.acting_mode(use_eval=True):
        chooses = agent.learner.greedy if agent.continuous else agent.learner.action_values
        return chooses(observation).numpy()


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_folder_traced_agent_act_the_same(agent_type, exported):
    _, agent, path = exported[agent_type]
    again = load_agent(path)
    assert again.agent_type == agent_type
    for state in random_states(20):
        np.testing.assert_allclose(values(again, state), values(agent, state), rtol=0, atol=ROUND_TRIP)
        torch.manual_seed(2)
        action = agent.act(state)
        torch.manual_seed(2)
        assert again.act(state) == action


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_the_agent_decides_as_the_planner_does(agent_type, exported):
    # What the planner makes of the outputs is its own code (agents spec 11); here it is written out again.
    _, _, path = exported[agent_type]
    agent = load_agent(path)
    for state in random_states(10, seed=6):
        outputs = planner_call(path, agent_type, planner_observation(state))
        if agent_type == "SAC":
            mean, log_std = outputs
            torch.manual_seed(3)
            noise = torch.randn_like(mean)
            torch.manual_seed(3)
            expected = 2 / np.pi * torch.atan(mean + log_std.exp() * noise)
            np.testing.assert_allclose(agent.act(state), expected[0], rtol=0, atol=ROUND_TRIP)
        elif agent_type == "IQN":
            observation = agent._observation([state])
            with torch.no_grad():
                quantiles = agent.learner.acting_network.quantiles(observation, TAUS.unsqueeze(-1))
            np.testing.assert_allclose(quantiles, outputs[0], rtol=0, atol=1e-11)
        elif agent_type == "Rainbow":
            support = torch.linspace(-1, 1, 51, dtype=torch.float64)
            assert agent.act(state) == (outputs[0] * support).sum(dim=2).argmax()
        elif not agent.continuous:
            assert agent.act(state) == outputs[0].argmax()
        else:
            np.testing.assert_allclose(agent.act(state), outputs[0][0], rtol=0, atol=ROUND_TRIP)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_broken_twin_a_float32_agent_misses_the_tolerance(agent_type, exported):
    folder, agent, _ = exported[agent_type]
    rounded = load_agent(folder)
    gaps = [np.abs(values(rounded, state) - values(agent, state)).max() for state in random_states(5)]
    assert max(gaps) > ROUND_TRIP


def test_other_sizes_survive_the_round_trip(tmp_path):
    sizes = {"hidden_dimension": 32, "self_feature_dimension": 20, "concat_feature_dimension": 220}
    Agent(agent_type="Rainbow", seed=1, training=False, **sizes).save_latest_model(tmp_path)
    agent = load_agent(tmp_path, dtype=torch.float64)
    export_model(agent.learner, tmp_path / traced_name("Rainbow"))
    again = load_agent(tmp_path / traced_name("Rainbow"))
    assert again.learner.acting_network.hidden_dimension == 32
    assert np.array_equal(values(again, STATE), values(agent, STATE))
