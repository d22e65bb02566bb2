"""Large matrix products of acting and of compiled updates, which oneDNN computes where MKL is slow."""

import pytest
import torch

from agents import products
from agents.agent import Agent
from agents.batch import split_observation
from agents.learners import LEARNERS, acting
from marinenav_env.envs.contract.layout import OBSERVATION_SIZE
from tests.unit.test_update import assert_same_learning, batch_for, compiled
from torchrl_gpu.learn import lowered

PRODUCT = torch.ops.marinenav.product.default
MM = torch.ops.aten.mm.default


@pytest.fixture
def onednn():
    """Nothing, where torch has it."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")


@pytest.fixture
def by_onednn(monkeypatch, onednn):
    """As on a processor where it is faster."""
    for module in (acting, lowered):
        monkeypatch.setattr(module, "onednn_is_faster", lambda: True)


@pytest.fixture
def graphs(monkeypatch):
    """Graphs given to the compiler, which gives them back as they are."""
    given = []
    monkeypatch.setattr(
        torch._inductor, "compile", lambda graph, inputs, options: given.append(graph) or graph
    )
    return given


def targets(graph):
    return {node.target for node in graph.graph.nodes}


@pytest.mark.parametrize(
    ("rows", "inner", "columns", "dtype", "large"),
    [
        (64, 128, 128, torch.float32, True),
        (64, 128, 120, torch.float32, False),  # 1,966,080 operations
        (4096, 128, 15, torch.float32, False),
        (15, 4096, 128, torch.float32, False),
        (4096, 15, 128, torch.float32, False),
        (512, 256, 128, torch.float64, False),
    ],
)
def test_large_products_of_single_precision_are_its(rows, inner, columns, dtype, large, by_onednn, graphs):
    a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    (found,) = lowered.lower(lambda a, b: (a @ b,), [a, b], "a product")(a, b)
    assert (PRODUCT in targets(graphs[0]), MM in targets(graphs[0])) == (large, not large)
    assert torch.equal(found, a @ b)


def test_products_of_several_seeds_are_its_one_by_one(by_onednn, graphs):
    a, b = torch.randn(3, 64, 128), torch.randn(3, 128, 128)
    (found,) = lowered.lower(lambda a, b: (a @ b,), [a, b], "products")(a, b)
    assert [node.target for node in graphs[0].graph.nodes].count(PRODUCT) == 3
    torch.testing.assert_close(found, a @ b, rtol=1e-5, atol=1e-5)
    few = a[:, :8]
    lowered.lower(lambda a, b: (a @ b,), [few, b], "small products")
    assert PRODUCT not in targets(graphs[1])


def test_layers_and_their_gradients_are_its(by_onednn, graphs):
    agent = Agent(agent_type="AC-IQN")
    compiled(agent.learner)(batch_for(agent))
    taken = [node for node in graphs[0].graph.nodes if node.target == PRODUCT]
    assert len(taken) > 20
    left = [node for node in graphs[0].graph.nodes if node.target == MM]
    sizes = [(*node.args[0].meta["val"].shape, node.meta["val"].shape[1]) for node in left]
    assert left
    assert not any(products.suits_onednn(*size, torch.float32) for size in sizes)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_acting_for_many_is_the_same_by_it(agent_type, monkeypatch, onednn):
    agent = Agent(agent_type=agent_type)
    observation = split_observation(batch_for(agent, size=300).rows[:, :OBSERVATION_SIZE])
    act = agent.learner.greedy if agent.continuous else agent.learner.action_values
    found = {}
    for faster in (False, True):
        monkeypatch.setattr(acting, "onednn_is_faster", lambda faster=faster: faster)
        torch.manual_seed(0)
        with torch.no_grad(), torch.profiler.profile() as profile:
            found[faster] = acting.in_parts(act, observation, 128)
        calls = {event.key for event in profile.key_averages()}
        assert ("mkldnn::_linear_pointwise" in calls) == faster
    torch.testing.assert_close(found[True], found[False], rtol=1e-4, atol=1e-5)


def test_one_that_is_to_be_differentiated_is_not_its(by_onednn):
    agent = Agent(agent_type="DDPG")
    observation = split_observation(batch_for(agent, size=300).rows[:, :OBSERVATION_SIZE])
    agent.learner.greedy(observation).sum().backward()
    assert all(weight.grad is not None for weight in agent.learner.policy_local.actor.parameters())


@pytest.mark.parametrize(
    ("maker", "family", "capability", "faster"),
    [
        ("AuthenticAMD", "26", "AVX512", True),
        ("AuthenticAMD", "27", "AVX512", True),
        ("AuthenticAMD", "25", "AVX512", False),
        ("AuthenticAMD", "26", "AVX2", False),
        ("GenuineIntel", "26", "AVX512", False),
        ("arm", "arm", "AVX512", False),
    ],
)
def test_it_is_taken_where_mkl_takes_half_the_width(maker, family, capability, faster, monkeypatch):
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        pytest.skip("torch has no MKL or no oneDNN here")
    told = {"vendor_id": maker, "cpu family": family}
    monkeypatch.setattr(products, "of_processor", told.__getitem__)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products.onednn_is_faster.__wrapped__() is faster


@pytest.mark.slow
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_it_multiplies_matrices_of_any_strides(transposed, by_onednn):
    a, b = torch.randn(96, 160), torch.randn(160, 224)
    a, b = (m.t().contiguous().t() if turn else m for m, turn in zip((a, b), transposed, strict=True))
    (found,) = lowered.lower(lambda a, b: (a @ b,), [a, b], "a product")(a, b)
    torch.testing.assert_close(found, a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_an_update_by_it_learns_what_the_legacy_one_does(agent_type, by_onednn):
    assert_same_learning(agent_type, compiled)
