"""QR-DQN, without recorded numbers: its loss by hand, its distribution, its way through the pipelines."""

import pytest
import torch

from agents.agent import Agent
from agents.learners.qr_dqn import QR_DQN
from tests.unit.learner_ways import assert_survives_folder, assert_survives_tracing, train_both_modes
from tests.unit.test_agents_losses import batch_of_two


def learner_of(**keys):
    return Agent.of("QR-DQN", QR_DQN.Settings(**keys)).learner


def quantiles(*of_actions):
    """Quantiles (2, N, 25), the same for both states; actions not named have a bad value."""
    found = torch.full((2, len(of_actions[0][1]), 25), -100.0)
    for action, values in of_actions:
        found[:, :, action] = torch.tensor(values)
    return found


def test_loss_by_hand(monkeypatch):
    learner = learner_of(discount=0.5, fixed_quantiles=2)
    target, local = learner.policy_target, learner.policy_local
    # Action 4 has the best mean, 2.5; action 9 the best first quantile.
    monkeypatch.setattr(target, "forward", lambda state: quantiles((4, [1.0, 4.0]), (9, [2.0, 2.0])))
    monkeypatch.setattr(local, "forward", lambda state: quantiles((3, [1.0, 2.0]), (7, [0.0, 0.0])))
    losses = learner.network_loss(batch_of_two(continuous=False), {})["network"]
    # State 1, action 3, Z = (1, 2): y = 1 + 0.5·(1, 4) = (1.5, 3); fractions ¼ and ¾.
    # δ_11 = 0.5: ¼·0.125 = 0.03125; δ_21 = -0.5: ¼·0.125 = 0.03125; sum 0.0625.
    # δ_12 = 2: ¼·1.5 = 0.375; δ_22 = 1: ¾·0.5 = 0.375; sum 0.75. Mean over j: 0.40625.
    # State 2, action 7, Z = (0, 0), terminal: y = (-2, -2), L = 1.5; weights |¼ - 1| and |¾ - 1|: 1.5.
    assert losses.tolist() == pytest.approx([0.40625, 1.5])


def test_the_mean_decides(monkeypatch):
    learner = learner_of(fixed_quantiles=2)
    monkeypatch.setattr(
        learner.policy_local, "forward", lambda state: quantiles((4, [1.0, 4.0]), (9, [2.0, 2.5]))
    )
    assert learner.greedy(batch_of_two().state).tolist() == [4, 4]
    assert learner.action_values(batch_of_two().state)[0, [4, 9]].tolist() == [2.5, 2.25]


def test_return_quantiles_are_the_steps_of_the_distribution(monkeypatch):
    learner = learner_of(fixed_quantiles=2)
    monkeypatch.setattr(learner.policy_local, "forward", lambda state: quantiles((4, [3.0, 1.0])))
    taus = torch.tensor([0.0, 0.49, 0.5, 1.0]).view(1, -1, 1).expand(2, -1, -1)
    state = batch_of_two().state
    assert learner.return_quantiles(state, torch.tensor([4, 4]), taus)[0].tolist() == [1, 1, 3, 3]
    assert learner.return_quantiles(state, None, taus).shape == (2, 4, 25)


def test_fractions_are_midpoints():
    assert learner_of(fixed_quantiles=4).policy_local.taus.flatten().tolist() == [0.125, 0.375, 0.625, 0.875]


def test_an_update_learns():
    learner = learner_of(learning_rate=1e-2)
    batch = batch_of_two(continuous=False)
    losses = [learner.update(batch)["network"].item() for _ in range(50)]
    assert losses[-1] < losses[0] / 4


def test_both_modes_train_it(tmp_path):
    train_both_modes("qr_dqn", tmp_path)


@pytest.mark.parametrize("keys", [{}, {"fixed_quantiles": 5}], ids=["default", "other"])
def test_files(tmp_path, keys):
    agent = Agent.of("QR-DQN", QR_DQN.Settings(**keys), seed=3)
    assert_survives_folder(agent, tmp_path)
    assert_survives_tracing(agent, tmp_path, lambda policy, state: policy(state).mean(dim=1))
