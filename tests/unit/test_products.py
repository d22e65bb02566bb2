"""Large matrix products of a compiled update, which oneDNN computes where MKL is slow."""

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from tests.unit.test_update import assert_same_learning, batch_for, compiled
from torchrl_gpu.learn import lowered, products

PRODUCT = torch.ops.marinenav.product.default
MM = torch.ops.aten.mm.default


@pytest.fixture
def by_onednn(monkeypatch):
    """As on a processor where it is faster."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


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


def test_layers_and_their_gradients_are_its(by_onednn, graphs):
    agent = Agent(agent_type="AC-IQN")
    compiled(agent.learner)(batch_for(agent))
    taken = [node for node in graphs[0].graph.nodes if node.target == PRODUCT]
    assert len(taken) > 20
    assert not any(
        node.target == MM
        and min(*node.args[0].meta["val"].shape, node.meta["val"].shape[1]) >= products.LEAST_SIZE
        and 2 * node.args[0].meta["val"].numel() * node.meta["val"].shape[1] >= products.LEAST_FLOPS
        for node in graphs[0].graph.nodes
    )


@pytest.mark.parametrize(
    ("cpuinfo", "capability", "faster"),
    [
        ("vendor_id\t: AuthenticAMD\n", "AVX512", True),
        ("vendor_id\t: AuthenticAMD\n", "AVX2", False),
        ("vendor_id\t: GenuineIntel\n", "AVX512", False),
    ],
)
def test_it_is_taken_on_processors_that_mkl_takes_for_narrow(cpuinfo, capability, faster, monkeypatch):
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        pytest.skip("torch has no MKL or no oneDNN here")
    monkeypatch.setattr(products, "_processor", lambda: cpuinfo)
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
