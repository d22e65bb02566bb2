"""Twenty updates per agent on the recorded memory: batches, losses, gradients, parameters, Adam states."""

import hashlib

import numpy as np
import pytest
import torch

from agents.agent import Agent
from agents.learners import descent as learner_module
from tests.parity.agents_golden import (
    AGENTS,
    assert_close,
    assert_generators,
    assert_networks,
    config,
    filled_agent,
    load,
    seed_generators,
    states,
)


class Recorder:
    """Twenty updates as recorded, with all that the update itself does not return."""

    def __init__(self, golden, agent: Agent, monkeypatch, updates: int = 20):
        self.golden, self.agent, self.case = golden, agent, load(golden, f"update_default_{agent.agent_type}")
        self.updates = updates
        self.losses, self.grad_norms, self.samples, self.noise = [], [], [], []
        self._record(monkeypatch, agent.memory, "sample", self.samples)
        self._record(monkeypatch, agent.learner, "draw_noise", self.noise)
        self._record(monkeypatch, learner_module.nn.utils, "clip_grad_norm_", self.grad_norms)

    @staticmethod
    def _record(monkeypatch, owner, name, results):
        original = getattr(owner, name)

        def recorded(*args, **kwargs):
            results.append(original(*args, **kwargs))
            return results[-1]

        monkeypatch.setattr(owner, name, recorded)

    def run(self):
        seed_generators(config(self.golden)["update"][0]["seeds"])
        for number in range(1, self.updates + 1):
            self.losses.append(np.atleast_1d(self.agent.train()))
            if number in (1, 10, 20):
                self.assert_learner(f"u{number}", rtol=1e-6 if number == 1 else 1e-5)
            if number == 10:
                self.agent.soft_update()
                prefix = "u10soft.target"
                assert_networks(self.case, prefix, self.agent, self.agent.policy_target, rtol=1e-5)
        return self

    def assert_learner(self, prefix: str, rtol: float) -> None:
        agent, case = self.agent, self.case
        assert_networks(case, f"{prefix}.local", agent, agent.policy_local, rtol)
        assert_networks(case, f"{prefix}.target", agent, agent.policy_target, rtol)
        for name, optimizer in agent.learner.optimizers.items():
            key = f"{prefix}.opt." + ("optimizer" if name == "network" else f"{name}_optimizer")
            adam = [optimizer.state[parameter] for parameter in optimizer.param_groups[0]["params"]]
            assert [state["step"].item() for state in adam] == case[f"{key}.step"].tolist()
            first = [state["exp_avg"].double().abs().sum().item() for state in adam]
            second = [state["exp_avg_sq"].double().sum().item() for state in adam]
            assert_close(first, case[f"{key}.exp_avg_abs_sum"], 10 * rtol)
            assert_close(second, case[f"{key}.exp_avg_sq_sum"], 10 * rtol)

    def assert_losses(self) -> None:
        assert_close(self.losses[0], self.case["losses"][0], 1e-6)
        assert_close(np.stack(self.losses), self.case["losses"][: self.updates], 1e-5)
        norms = np.reshape(self.grad_norms, (self.updates, -1))
        # Half a unit in the last place of all initial weights moves SAC's norms by 6e-5, the others' by 1e-6.
        rtol = 1e-4 if self.agent.agent_type == "SAC" else 1e-5
        assert_close(norms, self.case["grad_norms"][: self.updates], rtol)


@pytest.mark.parametrize("agent_type", AGENTS)
def test_twenty_updates(golden, monkeypatch, agent_type):
    recorder = Recorder(golden, filled_agent(golden, agent_type), monkeypatch).run()
    recorder.assert_losses()
    assert_generators(recorder.case, "rng_after")


@pytest.mark.parametrize("agent_type", [name for name in AGENTS if name != "Rainbow"])
def test_uniform_batches(golden, monkeypatch, agent_type):
    recorder = Recorder(golden, filled_agent(golden, agent_type), monkeypatch).run()
    kind = "continuous" if recorder.agent.continuous else "discrete"
    transitions = load(golden, f"transitions_{kind}")
    own, rewards = [state[0] for state in states(transitions, "")], transitions["rewards"]
    for sample, indices in zip(recorder.samples, recorder.case["sample.idx"], strict=True):
        assert sample[0][0] == [own[index] for index in indices]
        assert sample[2] == rewards[indices].tolist()


@pytest.mark.parametrize(
    ("agent_type", "order"), [("AC-IQN", ("target", "local", "actor")), ("IQN", ("target", "local"))]
)
def test_quantile_fractions(golden, monkeypatch, agent_type, order):
    recorder = Recorder(golden, filled_agent(golden, agent_type), monkeypatch, updates=1).run()
    taus = torch.stack([recorder.noise[0][f"{name}_taus"].squeeze(-1) for name in order])
    assert torch.equal(taus, torch.from_numpy(recorder.case["u1.taus"]))


def test_prioritised_batches_and_tree(golden, monkeypatch):
    recorder = Recorder(golden, filled_agent(golden, "Rainbow"), monkeypatch)
    case, tree = recorder.case, recorder.agent.memory.transitions
    finds = []
    recorder._record(monkeypatch, tree, "find", finds)
    assert_tree(tree, case, "tree.u0", 0)
    seed_generators(config(golden)["update"][0]["seeds"])
    for k in range(20):
        before = len(finds)
        recorder.agent.train()
        if k == 9:
            recorder.agent.soft_update()
        sample = recorder.samples[k]
        assert len(finds) - before == case["sample.attempts"][k]
        assert sample.index.tolist() == case["sample.tree_idxs"][k].tolist()
        assert sample.action.flatten().tolist() == case["sample.actions"][k].tolist()
        assert sample.not_done.squeeze(1).tolist() == case["sample.nonterminals"][k].tolist()
        assert torch.equal(sample.state[0], torch.from_numpy(case["sample.self"][k]))
        assert torch.equal(sample.next_state[0], torch.from_numpy(case["sample.next_self"][k]))
        assert sample.next_state[2].sum(dim=1).tolist() == case["sample.next_mask_sum"][k].tolist()
        assert_close(sample.reward.squeeze(1), case["sample.returns"][k])
        assert_close(sample.weight, case["sample.weights"][k], 1e-5)
        assert_tree(tree, case, f"tree.u{k + 1}", 1e-5)


def assert_tree(tree, case, prefix: str, rtol: float) -> None:
    leaves = tree.sum_tree[tree.tree_start :].astype(np.float64)
    assert_close(tree.total(), case[f"{prefix}.total"], rtol)
    assert_close(leaves.sum(), case[f"{prefix}.leaf_sum"], rtol)
    assert_close(tree.max, case[f"{prefix}.max"], rtol)
    assert (tree.index, tree.full, tree.num_elements()) == tuple(
        case[f"{prefix}.{key}"] for key in ("index", "full", "num_elements")
    )
    if f"{prefix}.leaves" in case:
        assert_close(leaves[:400], case[f"{prefix}.leaves"], rtol)
    if rtol == 0:
        assert hashlib.sha256(tree.sum_tree.tobytes()).hexdigest() == case[f"{prefix}.tree_sha256"]


@pytest.mark.parametrize("agent_type", AGENTS)
@pytest.mark.parametrize("changed", [{"LR": 1.001e-4}, {"GAMMA": 0.9901}])
def test_broken_twin_with_changed_argument_fails(golden, monkeypatch, agent_type, changed):
    recorder = Recorder(golden, filled_agent(golden, agent_type, **changed), monkeypatch, updates=10)
    with pytest.raises(AssertionError):
        recorder.run().assert_losses()


@pytest.mark.parametrize("agent_type", AGENTS)
def test_broken_twin_with_another_clip_fails(golden, monkeypatch, agent_type):
    agent = filled_agent(golden, agent_type)
    agent.learner.change(max_grad_norm=0.4)
    with pytest.raises(AssertionError):
        Recorder(golden, agent, monkeypatch, updates=1).run()


@pytest.mark.parametrize("agent_type", AGENTS)
def test_broken_twin_without_target_copy_fails(golden, monkeypatch, agent_type):
    agent = filled_agent(golden, agent_type, TAU=0.99)
    with pytest.raises(AssertionError):
        Recorder(golden, agent, monkeypatch, updates=10).run()


def test_broken_twin_with_another_temperature_fails(golden, monkeypatch):
    agent = filled_agent(golden, "SAC")
    agent.learner.alpha = 0.079
    with pytest.raises(AssertionError):
        Recorder(golden, agent, monkeypatch, updates=1).run()
