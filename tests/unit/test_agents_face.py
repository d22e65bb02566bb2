"""What the six agents promise their callers beyond numbers."""

import ast
import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import agents
from agents.agent import Agent
from agents.batch import Observation, state_batch
from agents.learners import LEARNERS, acting, iqn
from agents.learners.base import Learner
from agents.legacy.agent import LegacyAgent
from tests.unit.test_agents_losses import batch_of_two, turns

AGENTS = list(LEARNERS)
STATE = [0.1 * i for i in range(7)], [[1.0, 2.0, 0.1, -0.2, 1.0]]
SIZES = [
    "self_dimension",
    "object_dimension",
    "max_object_num",
    "self_feature_dimension",
    "object_feature_dimension",
    "concat_feature_dimension",
    "hidden_dimension",
]


def agent_of(agent_type: str, **kw) -> LegacyAgent:
    return LegacyAgent(agent_type=agent_type, BUFFER_SIZE=400, **kw)


def trained(agent: Agent, updates: int = 1, objects=((1.0, 2.0, 0.1, -0.2, 1.0),)) -> Agent:
    """Fill the memory with 400 transitions that never end, and update."""
    draws = np.random.RandomState(0)
    for _ in range(400):
        state, next_state = ((draws.randn(7).tolist(), list(map(list, objects))) for _ in range(2))
        action = draws.uniform(-1, 1, 2).tolist() if agent.continuous else int(draws.randint(25))
        agent.store(state, action, float(draws.randn()), next_state, False)
    for _ in range(updates):
        agent.train()
    return agent


# ---- registry


def test_registry_and_files_agree():
    """Every learner written in `agents.learners` is registered under its own name."""
    written = set()
    for path in (Path(agents.__file__).parent / "learners").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            bases = [base.id for base in getattr(node, "bases", []) if isinstance(base, ast.Name)]
            if path.name not in ("base.py", "acting.py") and any(base.endswith("Learner") for base in bases):
                written.add(node.name)
    assert written == {learner.__name__ for learner in LEARNERS.values()}
    assert all(learner.name == name for name, learner in LEARNERS.items())


def test_registry_and_configs_agree():
    """Each learner has its experiment in a file of its name; other files train a registered one."""
    folder = Path(agents.__file__).parents[1] / "config"
    types = {path.stem: json.loads(path.read_text())["agent_type"] for path in folder.glob("*.json")}
    assert {name.lower().replace("-", "_"): name for name in LEARNERS}.items() <= types.items()
    assert set(types.values()) <= set(LEARNERS)


def test_action_kinds():
    kinds = {name: learner.continuous for name, learner in LEARNERS.items()}
    legacy = {"AC-IQN": True, "DDPG": True, "SAC": True, "IQN": False, "DQN": False, "Rainbow": False}
    assert kinds == kinds | legacy


@pytest.mark.parametrize("agent_type", [None, "PPO", "ac-iqn"])
def test_unknown_agent_type_is_refused(agent_type):
    with pytest.raises(RuntimeError, match=f"{agent_type!r}, must be one of {', '.join(AGENTS)}"):
        Agent(agent_type=agent_type)


def test_inconsistent_sizes_are_refused():
    with pytest.raises(ValueError, match=r"concat_feature_dimension is 255, must be .* = 256"):
        agent_of("DQN", concat_feature_dimension=255)


# ---- attributes


@pytest.mark.parametrize("agent_type", AGENTS)
def test_legacy_attributes(agent_type):
    ranges = [[-1.0, 1.0], [-0.5, 0.5]]
    agent = agent_of(agent_type, LR=1e-3, TAU=0.5, GAMMA=0.9, BATCH_SIZE=32, value_ranges_of_action=ranges)
    assert (agent.LR, agent.TAU, agent.GAMMA, agent.BATCH_SIZE, agent.BUFFER_SIZE) == (
        1e-3,
        0.5,
        0.9,
        32,
        400,
    )
    assert (agent.device, agent.training, agent.action_size, agent.agent_type) == (
        "cpu",
        True,
        25,
        agent_type,
    )
    assert agent.value_ranges_of_action == ranges
    assert agent.value_ranges_of_action[0] is not ranges[0]
    assert type(agent.policy_local).__name__ == agent_type.replace("-", "_") + "_Policy"
    for name, network in agent.learner.networks(agent.policy_local).items():
        optimizer = agent.learner.optimizers[name]
        assert optimizer.param_groups[0]["params"] == list(network.parameters())
        assert optimizer.param_groups[0]["lr"] == 1e-3


def test_constants_of_sac_and_rainbow():
    assert agent_of("SAC").learner.alpha == 0.078
    agent = agent_of("Rainbow", multi_steps=5, GAMMA=0.9)
    rainbow = agent.learner
    assert (rainbow.atoms, rainbow.Vmin, rainbow.Vmax, rainbow.delta_z) == (51, -1.0, 1.0, 0.04)
    assert torch.equal(rainbow.support, torch.linspace(-1, 1, 51))
    # Defect A6 fixed: the memory follows the agent.
    assert (agent.memory.n, agent.memory.discount) == (5, 0.9)


def test_agent_can_be_copied():
    agent = agent_of("AC-IQN")
    twin = copy.deepcopy(agent)
    assert twin.act(STATE, eps=-1) == agent.act(STATE, eps=-1)


@pytest.mark.parametrize(
    ("agent_type", "network", "tensors", "scalars", "own"),
    [
        ("AC-IQN", "actor", 10, 50_354, ["value_ranges_of_action"]),
        ("AC-IQN", "critic", 14, 67_249, ["action_dimension"]),
        ("DDPG", "actor", 10, 50_354, ["value_ranges_of_action"]),
        ("DDPG", "critic", 12, 50_609, ["action_dimension"]),
        ("SAC", "actor", 12, 50_612, ["value_ranges_of_action"]),
        ("SAC", "critic_2", 12, 50_609, ["action_dimension"]),
        ("IQN", "network", 12, 69_961, ["action_size"]),
        ("DQN", "network", 10, 53_321, ["action_size"]),
        ("Rainbow", "network", 40, 540_428, ["action_size", "atoms"]),
    ],
)
def test_networks(agent_type, network, tensors, scalars, own):
    agent = agent_of(agent_type, seed=100)
    module = agent.learner.networks(agent.policy_local)[network]
    assert len(module.state_dict()) == tensors
    assert sum(parameter.numel() for parameter in module.parameters()) == scalars
    parameters = module.get_constructor_parameters()
    assert list(parameters) == [*SIZES, *own, "seed"]
    assert parameters["seed"] == 100 + {"critic": 1, "critic_1": 1, "critic_2": 2}.get(network, 0)
    assert parameters["concat_feature_dimension"] == 256
    # The dictionary rebuilds the network, and in positional order too.
    rebuilt = type(module)(*list(parameters.values())[:-1], "cpu", parameters["seed"])
    for name, tensor in module.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[name], tensor)


def test_ranges_given_as_tuples_load_again(tmp_path):
    agent = agent_of("DDPG", value_ranges_of_action=((-1, 1), (-0.5, 0.5)))
    agent.save_latest_model(tmp_path)
    agent.load_model(tmp_path)


def test_observation_must_be_a_triple():
    with pytest.raises(AssertionError, match="2 parts, must have 3"):
        agent_of("DQN").policy_local((torch.zeros(1, 7), None))


# ---- acting


@pytest.mark.parametrize("agent_type", AGENTS)
def test_evaluation_agent_acts(agent_type):
    """Defect A1 fixed: no memory, no optimisers, but it acts as its training twin does."""
    agent, twin = agent_of(agent_type, training=False), agent_of(agent_type)
    assert agent.memory is None
    assert agent.learner.optimizers == {}
    actions = []
    for each in (agent, twin):
        torch.manual_seed(0)
        actions.append(each.act(STATE))
    assert actions[0] == actions[1]


@pytest.mark.parametrize("agent_type", AGENTS)
@pytest.mark.parametrize("eps", [-1.0, 2.0])
def test_action_types(agent_type, eps):
    action = agent_of(agent_type).act(STATE, eps=eps)
    if LEARNERS[agent_type].continuous:
        assert [type(value) for value in action] == [float, float]
    else:
        assert type(action) is (int if agent_type == "Rainbow" and eps < 0 else np.int64)


@pytest.mark.parametrize("agent_type", AGENTS)
def test_losses_of_the_legacy_agent(agent_type):
    agent = agent_of(agent_type)
    trained(agent, updates=turns(agent.learner) - 1)
    losses = agent.train()
    terms = losses if isinstance(losses, tuple) else (losses,)
    shape = (64,) if agent_type == "Rainbow" else ()
    assert [(term.shape, term.dtype) for term in terms] == [(shape, np.float32)] * len(terms)
    assert len(terms) == len(agent.learner.optimizers)


@pytest.mark.parametrize("agent_type", AGENTS)
def test_greedy_on_a_batch_is_what_acting_does_one_by_one(agent_type):
    agent = agent_of(agent_type)
    draws = np.random.RandomState(1)
    states = [(draws.randn(7).tolist(), draws.randn(k, 5).tolist()) for k in range(6)]
    torch.manual_seed(3)
    with torch.no_grad():
        batched = agent.learner.greedy(agent.state_to_tensor(state_batch(states)))
    assert batched.shape == ((6, 2) if agent.continuous else (6,))
    torch.manual_seed(3)
    one_by_one = [agent.act(state, eps=-1.0, use_eval=False) for state in states]
    assert batched.tolist() == (
        pytest.approx(np.array(one_by_one), abs=1e-6) if agent.continuous else one_by_one
    )


def test_rainbow_acts_with_its_noise_unless_evaluated():
    agent = agent_of("Rainbow")
    values = []
    choose = agent.learner.choose
    agent.learner.choose = lambda found, eps: values.append(found) or choose(found, eps)
    for use_eval in (True, False):
        agent.act(STATE, use_eval=use_eval)
        assert agent.policy_local.training
    assert not torch.equal(*values)


@pytest.mark.parametrize("redraw", [False, True])
def test_rainbow_learns_under_new_noise_where_told(redraw):
    learner = LEARNERS["Rainbow"](LEARNERS["Rainbow"].Settings(redraw_noise=redraw))
    noise = dict(learner.policy_local.named_buffers())
    before = {name: values.clone() for name, values in noise.items()}
    learner.update(batch_of_two(continuous=False))
    assert len(noise) == 12
    assert [torch.equal(before[name], values) for name, values in noise.items()] == [not redraw] * 12


def test_acting_mode_ends_in_train_mode_after_an_error():
    learner = agent_of("DQN").learner
    with pytest.raises(RuntimeError, match="in between"), learner.acting_mode(use_eval=True):
        raise RuntimeError("in between")
    assert learner.policy_local.training


def test_low_cvar_acts_on_the_lower_tail():
    agent = agent_of("IQN")
    _, taus = agent.learner.sample_quantiles(agent.state_to_tensor(state_batch([STATE])), cvar=0.25)
    assert taus.shape == (1, 32, 1)
    assert 0.15 < taus.max() < 0.25


@pytest.mark.parametrize("agent_type", AGENTS)
def test_many_observations_are_acted_on_in_parts_as_at_once(agent_type, monkeypatch):
    learner = agent_of(agent_type).learner
    observation = Observation(torch.randn(200, 7), torch.randn(200, 5, 5), torch.rand(200, 5) < 0.5)
    sizes = []
    encoder = learner.acting_network.self_encoder
    encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))

    def actions(rows):
        monkeypatch.setattr(acting, "CACHED_ROWS", rows)
        monkeypatch.setattr(iqn, "CACHED_QUANTILES", 32 * rows)
        torch.manual_seed(3)
        with torch.no_grad():
            return learner.greedy(observation)

    torch.testing.assert_close(actions(64), actions(200))
    assert sizes == ([200, 200] if agent_type == "SAC" else [64, 64, 64, 8, 200])  # SAC draws for all at once


def test_parts_have_fewer_observations_the_more_quantiles_each_has(monkeypatch):
    learner = Agent(agent_type="IQN", settings=LEARNERS["IQN"].Settings(acting_quantiles=5)).learner
    observation = Observation(torch.randn(9, 7), torch.randn(9, 5, 5), torch.ones(9, 5))
    sample, drawn = learner.sample_quantiles, []
    monkeypatch.setattr(learner, "sample_quantiles", lambda *each: drawn.append(sample(*each)) or drawn[-1])

    def quantiles(cached):
        monkeypatch.setattr(iqn, "CACHED_QUANTILES", cached)
        drawn.clear()
        torch.manual_seed(3)
        with torch.no_grad():
            learner.greedy(observation)
        assert torch.cat([taus for _, taus in drawn]).shape == (9, 5, 1)
        return len(drawn), torch.cat([values for values, _ in drawn])

    (parts, found), (once, expected) = quantiles(cached=10), quantiles(cached=1000)
    assert (parts, once) == (5, 1)
    torch.testing.assert_close(found, expected)


# ---- learning


@pytest.mark.parametrize("agent_type", AGENTS)
def test_update_returns_detached_losses(agent_type):
    learner = agent_of(agent_type).learner
    losses = [learner.update(batch_of_two(learner.continuous)) for _ in range(turns(learner))][-1]
    assert set(losses.keys()) == set(learner.optimizers)
    assert not any(loss.requires_grad for loss in losses.values())
    assert all(loss.shape == ((2,) if learner.prioritized else ()) for loss in losses.values())


@pytest.mark.parametrize("agent_type", AGENTS)
def test_update_changes_the_local_networks_only(agent_type):
    agent = agent_of(agent_type)
    before = [copy.deepcopy(agent.learner.networks(policy)) for policy in policies(agent)]
    trained(agent, updates=turns(agent.learner))
    for policy, networks, changes in zip(policies(agent), before, (True, False), strict=True):
        for name, network in agent.learner.networks(policy).items():
            same = [
                torch.equal(*pair)
                for pair in zip(network.parameters(), networks[name].parameters(), strict=True)
            ]
            assert not any(same) if changes else all(same)
            # Defect A10 fixed: nothing gathers gradients that nobody uses.
            assert changes or all(parameter.grad is None for parameter in network.parameters())


def policies(agent: Agent) -> tuple:
    return agent.policy_local, agent.policy_target


@pytest.mark.parametrize("agent_type", [name for name in AGENTS if name != "Rainbow"])
@pytest.mark.parametrize("drop", [True, False])
def test_batches_without_objects_skip_the_object_encoder(agent_type, drop):
    """Quirk A15, and the switch that turns it off."""
    agent = agent_of(agent_type)
    agent.learner.drop_empty_objects = drop
    for _ in range(turns(agent.learner)):
        agent.learner.update(batch_of_two(agent.continuous))
    for name, network in agent.learner.networks(agent.policy_local).items():
        parameters = list(network.object_encoder.parameters())
        assert all((parameter.grad is None) == drop for parameter in parameters)
        assert all(
            (parameter not in agent.learner.optimizers[name].state) == drop for parameter in parameters
        )


def test_rainbow_never_skips_the_object_encoder():
    agent = agent_of("Rainbow")
    agent.learner.update(batch_of_two(continuous=False))
    assert all(parameter.grad is not None for parameter in agent.policy_local.object_encoder.parameters())


@pytest.mark.parametrize("agent_type", AGENTS)
def test_update_equals_the_textbook_recipe(agent_type):
    """Differentiating one network only gives the bits of zero_grad, backward, clip, step."""
    learner, twin = (agent_of(agent_type).learner for _ in range(2))
    batch = batch_of_two(learner.continuous)
    for seed in range(3):
        torch.manual_seed(seed)
        learner.update(batch)
        torch.manual_seed(seed)
        textbook_update(twin, batch)
    for name, network in learner.networks(learner.policy_local).items():
        others = twin.networks(twin.policy_local)[name].parameters()
        assert all(torch.equal(*pair) for pair in zip(network.parameters(), others, strict=True))


def textbook_update(learner: Learner, batch) -> None:
    if learner.drop_empty_objects:
        batch = batch.without_empty_objects()
    noise = learner.draw_noise(2)
    for stage in learner.next_stages():
        for name, loss in stage.loss(batch, noise).items():
            optimizer = learner.optimizers[name]
            optimizer.zero_grad()
            learner.objective(loss, batch).backward()
            network = learner.networks(learner.policy_local)[name]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()


@pytest.mark.gpu
@pytest.mark.parametrize("agent_type", AGENTS)
def test_first_losses_on_the_accelerator(agent_type):
    """Fractions come from the CPU's generator on every device; other noise does not, so losses resemble."""
    losses = {}
    for device in ("cpu", "cuda"):
        learner = agent_of(agent_type, device=device).learner
        torch.manual_seed(0)
        losses[device] = learner.update(batch_of_two(learner.continuous, device))
    tolerance = 1.0 if agent_type in ("SAC", "Rainbow") else 1e-4
    for name, loss in losses["cpu"].items():
        torch.testing.assert_close(losses["cuda"][name].cpu(), loss, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("agent_type", AGENTS)
def test_gradients_are_clipped(agent_type):
    agent = agent_of(agent_type)
    trained(agent, updates=turns(agent.learner))
    for network in agent.learner.networks(agent.policy_local).values():
        norm = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
        assert norm <= 0.5 * (1 + 1e-5)


@pytest.mark.parametrize("agent_type", AGENTS)
def test_target_copy(agent_type):
    agent = agent_of(agent_type, TAU=0.25)
    for policy, value in zip(policies(agent), (8.0, 4.0), strict=True):
        for network in agent.learner.networks(policy).values():
            for tensor in network.state_dict().values():
                tensor.fill_(value)
    agent.soft_update()
    for network in agent.learner.networks(agent.policy_target).values():
        assert all(torch.all(parameter == 5.0) for parameter in network.parameters())  # ¼·8 + ¾·4
        assert all(torch.all(buffer == 4.0) for buffer in network.buffers())  # noise is not copied


def test_target_copy_is_the_formula_to_the_bit():
    agent = agent_of("DQN", TAU=0.005)
    trained(agent)
    expected = [
        0.005 * local + (1 - 0.005) * target
        for local, target in zip(*(policy.parameters() for policy in policies(agent)), strict=True)
    ]
    agent.soft_update()
    assert all(map(torch.equal, agent.policy_target.parameters(), expected))


def test_importance_weights_scale_rainbows_objective():
    def gradient(weight: float) -> float:
        learner = agent_of("Rainbow").learner
        learner.change(max_grad_norm=float("inf"))
        batch = batch_of_two(continuous=False)._replace(weight=torch.full((2,), weight))
        learner.update(batch)
        return learner.policy_local.output_layer_v.bias_mu.grad

    torch.testing.assert_close(gradient(0.5), 0.5 * gradient(1.0))


@pytest.mark.parametrize("agent_type", AGENTS)
def test_stages_are_whole_graphs(agent_type):
    """No branch on data, no host synchronisation: a tracer takes each stage whole."""
    learner = agent_of(agent_type).learner
    learner.drop_empty_objects = False
    batch = batch_of_two(learner.continuous)
    noise = learner.draw_noise(2)
    for stage in learner.stages():
        expected = stage.loss(batch, noise)
        found = torch.compile(stage.loss, backend="eager", fullgraph=True)(batch, noise)
        assert found.keys() == expected.keys()
        assert all(torch.allclose(found[name], expected[name]) for name in found)


def test_all_randomness_of_an_update_is_drawn_beforehand():
    for agent_type in AGENTS:
        learner: Learner = agent_of(agent_type).learner
        batch = batch_of_two(learner.continuous)
        noise = learner.draw_noise(2)
        before = torch.get_rng_state(), random.getstate()
        for stage in learner.stages():
            stage.loss(batch, noise)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
