"""Updates as CUDA graphs on the simulated GPU: what is replayed learns what the eager update learns."""

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs.torchrl_gpu.compilation import told
from tests.contract.simulated_gpu import simulated_gpu, waits, watch
from tests.contract.simulated_graphs import Graph, machine
from tests.unit.test_update import batch_for
from torchrl_gpu.learn.captured import WARM_UP, Captured
from torchrl_gpu.learn.update import Update
from torchrl_gpu.learn.ways import Way

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")

CAPTURED = Way(captured=True)


@pytest.fixture
def gpu():
    with simulated_gpu():
        yield


def learned(agent_type, way, updates):
    """Losses and final weights; the step size falls, and the target follows now and then."""
    agent = Agent(agent_type=agent_type, seed=9, device="cuda")
    agent.learner.stay_on_device()
    if not way.captured:
        for optimizer in agent.learner.optimizers.values():
            optimizer.param_groups[0].update(fused=True, foreach=False)
    update, found = Update(agent.learner, way), []
    for k in range(updates):
        agent.learner.learning_rate = 1e-4 * (1 - k / 20)
        torch.manual_seed(k)
        found += update(batch_for(agent, 8, seed=k)).values()
        if k == 2:
            agent.learner.update_target()
    networks = agent.learner.networks(agent.learner.policy_local).values()
    return [value.detach().cpu() for each in networks for value in (*found, *each.parameters())]


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_replays_learn_what_the_eager_update_does(agent_type, gpu):
    updates = 9 if agent_type == "TD3" else 5  # its actor learns every second time: two graphs
    expected, found = (learned(agent_type, way, updates) for way in (Way(), CAPTURED))
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert sum(graph.replays for graph in Graph.made) == updates - len(Graph.made) * WARM_UP


def test_a_recording_computes_nothing_and_draws_go_on_after_it(gpu):
    total = torch.zeros(3, device="cuda")

    def add(x):
        total.add_(x + torch.rand(3, device="cuda"))
        return (total * 2,)

    captured = Captured(add, "cuda", pytest.fail)
    for k in range(1, WARM_UP + 4):
        before = total.tolist()
        torch.manual_seed(k)
        (doubled,) = captured(torch.full((3,), 10.0, device="cuda"))
        torch.manual_seed(k)
        drawn = torch.rand(3, device="cuda").tolist()
        assert total.tolist() == pytest.approx(
            [old + 10 + new for old, new in zip(before, drawn, strict=True)]
        )
        assert doubled.tolist() == [2 * value for value in total.tolist()]
    assert [graph.replays for graph in Graph.made] == [3]


def test_numbers_of_the_host_are_those_of_the_recording(gpu):
    """What the step size is not, and why."""
    rate = [1.0]
    captured = Captured(lambda x: (x * rate[0],), "cuda", pytest.fail)
    one, found = torch.ones(1, device="cuda"), []
    for k in range(WARM_UP + 2):
        rate[0] = 1.0 + k
        found.append(captured(one)[0].item())
    assert found == [1.0, 2.0, 3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: torch.tensor([1.0], device="cuda"),
        lambda x: x.cpu(),
        lambda x: torch.cuda.synchronize(),
        lambda x: x.cosh() if machine.graph else None,
    ],
    ids=["item", "mask", "new", "cpu", "synchronize", "not warmed up"],
)
def test_what_a_graph_cannot_hold_fails_once_and_goes_on_as_it_is_written(ask, gpu):
    failures, total = [], torch.zeros((), device="cuda")

    def work(x):
        total.add_(1)
        ask(x)
        return (x + total,)

    captured = Captured(work, "cuda", failures.append)
    main = torch.cuda.current_stream()
    for _ in range(WARM_UP + 2):
        captured(torch.rand(3, device="cuda"))
        assert torch.cuda.current_stream() is main
    assert total.item() == WARM_UP + 2
    [failure] = failures
    assert "operation not permitted when stream is capturing" in str(failure)
    assert Graph.made[0].replays == 0


def waiting(*arguments):
    machine.refuse("a loss that asks the host")


def test_an_update_that_cannot_be_recorded_says_so_in_a_line(gpu, monkeypatch):
    agent = Agent(agent_type="DQN", device="cuda")
    monkeypatch.setattr(agent.learner, "told", lambda loss, *_: waiting() or loss.detach())
    lines, update = [], Update(agent.learner, Way(captured=True, optional=True))
    with told(lines.append):
        for k in range(WARM_UP + 2):
            update(batch_for(agent, 16, seed=k))
    assert [line.split(":")[0] for line in lines] == ["the update cannot be a CUDA graph"]
    assert lines[0].endswith("a loss that asks the host; it goes on without")
    assert agent.learner.updates == WARM_UP + 2
    update, batch = Update(agent.learner, CAPTURED), batch_for(agent, 16)
    for _ in range(WARM_UP - 1):
        update(batch)
    with pytest.raises(RuntimeError, match='"compile": "auto" goes on without'):
        update(batch)


def test_a_replay_makes_the_host_wait_for_nothing(gpu):
    agent = Agent(agent_type="AC-IQN", device="cuda")
    update = Update(agent.learner, CAPTURED)
    batches = [batch_for(agent, 16, seed=k) for k in range(WARM_UP + 2)]
    for batch in batches[:WARM_UP]:
        update(batch)
    with watch():
        for batch in batches[WARM_UP:]:
            update(batch)
        assert waits == {}
