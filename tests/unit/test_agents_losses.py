"""Losses against cases worked by hand."""

import math

import pytest
import torch
from torch.utils._pytree import tree_map

from agents.agent import Agent
from agents.batch import Batch, Observation
from agents.learners import LEARNERS
from agents.learners.base import Learner
from agents.learners.descent import Stage
from agents.learners.rainbow import project
from agents.networks import calculate_huber_loss, quantile_huber_loss


def test_huber_by_hand():
    errors = torch.zeros(1, 8, 8)
    errors[0, 0, :4] = torch.tensor([0.5, -0.5, 1.0, -3.0])
    # ½·0.5² = 0.125 on both sides; ½·1² = 0.5 where the two pieces meet; 3 - ½ = 2.5 on the line.
    assert calculate_huber_loss(errors)[0, 0, :4].tolist() == [0.125, 0.125, 0.5, 2.5]


def test_huber_asserts_its_shape():
    with pytest.raises(AssertionError, match="shape"):
        calculate_huber_loss(torch.zeros(4, 8, 7))


def test_quantile_huber_by_hand():
    expected = torch.tensor([[1.0, 2.0]])  # Z_1 = 1, Z_2 = 2
    target = torch.tensor([[1.5, 4.0]])  # y_1 = 1.5, y_2 = 4
    taus = torch.tensor([[[0.25], [0.75]]])
    # δ_11 = 0.5:  weight 0.25,              L = ½·0.25 = 0.125  -> 0.03125
    # δ_21 = -0.5: weight |0.75 - 1| = 0.25, L = 0.125           -> 0.03125
    # δ_12 = 3:    weight 0.25,              L = 3 - ½ = 2.5     -> 0.625
    # δ_22 = 2:    weight 0.75,              L = 2 - ½ = 1.5     -> 1.125
    # Sum over i: j = 1: 0.0625, j = 2: 1.75. Mean over j: 0.90625.
    assert quantile_huber_loss(expected, target, taus).item() == 0.90625
    # With the roles exchanged every δ changes its sign and finds another weight:
    # 0.75·0.125 + 0.25·2.5 = 0.71875 and 0.25·0.125 + 0.25·1.5 = 0.40625, mean over j 0.5625.
    assert quantile_huber_loss(target, expected, taus).item() == 0.5625


@pytest.mark.parametrize(("delta", "loss"), [(1.0, 2.5), (2.0, 4.0), (100.0, 4.5)])
def test_large_errors_count_by_their_square_up_to_delta(monkeypatch, delta, loss):
    learner = Agent.of("DQN", LEARNERS["DQN"].Settings(discount=0.0, huber_delta=delta)).learner
    monkeypatch.setattr(learner.policy_local, "forward", lambda _: torch.full((2, 25), -2.0))
    # Error 1 + 2 = 3: 3 - ½, 2·(3 - 1), ½·9.
    assert learner.network_loss(batch_of_two(continuous=False), {})["network"][0].item() == loss
    # The same error of one quantile, half of whose samples lie below.
    half, error = torch.full((1, 1, 1), 0.5), torch.tensor([[3.0]])
    assert quantile_huber_loss(torch.zeros(1, 1), error, half, delta).item() == loss / 2


def test_quantile_huber_of_a_batch_and_its_mean():
    expected = torch.tensor([[0.0], [0.0]])
    target = torch.tensor([[1.0], [-1.0]])
    taus = torch.tensor([[[0.9]], [[0.9]]])
    # 0.9·0.5 = 0.45 and |0.9 - 1|·0.5 = 0.05, nine times less for an overestimate: mean 0.25.
    losses = quantile_huber_loss(expected, target, taus)
    assert losses.tolist() == pytest.approx([0.45, 0.05])
    learner = Agent(agent_type="IQN").learner
    batch = batch_of_two(continuous=False)
    assert learner.objective(losses, batch).item() == pytest.approx(0.25)
    weighted = batch._replace(weight=torch.tensor([0.5, 1.0]))  # (0.225 + 0.05) / 2
    assert learner.objective(losses, weighted).item() == pytest.approx(0.1375)


SUPPORT = torch.linspace(-1, 1, 5)  # atoms -1, -½, 0, ½, 1: spacing ½


def projected(probabilities: list[float], returns: float, discount: float) -> list[float]:
    rows = (
        torch.tensor([probabilities], dtype=torch.float32),
        torch.tensor([[returns]]),
        torch.tensor([[discount]]),
    )
    return project(*rows, SUPPORT, -1.0, 1.0)[0].tolist()


def test_projection_shares_mass_between_neighbours():
    # 0 + 0.25 lies halfway between the atoms 0 and ½.
    assert projected([0, 0, 1, 0, 0], 0.25, 1.0) == [0, 0, 0.5, 0.5, 0]
    # ½·½ + 0.125 = 0.375 is position (0.375 + 1) / ½ = 2.75: a quarter to atom 2, three quarters to atom 3.
    assert projected([0, 0, 0, 1, 0], 0.125, 0.5) == [0, 0, 0.25, 0.75, 0]


def test_projection_keeps_mass_that_falls_on_an_atom():
    assert projected([0.1, 0.2, 0.4, 0.2, 0.1], 0.0, 1.0) == pytest.approx([0.1, 0.2, 0.4, 0.2, 0.1])


def test_projection_clamps_to_the_support():
    # All atoms above 1 after adding 3; all below -1 after subtracting 3.
    assert projected([0.2] * 5, 3.0, 1.0) == pytest.approx([0, 0, 0, 0, 1])
    assert projected([0.2] * 5, -3.0, 1.0) == pytest.approx([1, 0, 0, 0, 0])


def test_projection_of_a_terminal_state_is_the_return_alone():
    # Discount 0 puts every atom on -0.375: position 1.25.
    assert projected([0.2] * 5, -0.375, 0.0) == pytest.approx([0, 0.75, 0.25, 0, 0])


def test_projection_of_several_rows_does_not_mix_them():
    rows = torch.eye(5)
    found = project(rows, torch.zeros(5, 1), torch.ones(5, 1), SUPPORT, -1.0, 1.0)
    assert torch.equal(found, rows)


def batch_of_two(continuous: bool = True, device: str = "cpu") -> Batch:
    """Two transitions without objects: a plain one with reward 1, a terminal one with reward -2."""
    state = Observation(torch.ones(2, 7), torch.zeros(2, 5, 5), torch.zeros(2, 5, dtype=torch.bool))
    batch = Batch(
        state=state,
        action=torch.zeros(2, 2) if continuous else torch.tensor([[3], [7]]),
        reward=torch.tensor([[1.0], [-2.0]]),
        not_done=torch.tensor([[1.0], [0.0]]),
        next_state=state,
    )
    return tree_map(lambda part: None if part is None else part.to(device), batch)


def turns(learner: Learner) -> int:
    """Updates after which every stage has had its turn, in the last of them all together."""
    return math.lcm(*(stage.every for stage in learner.stages()))


def test_a_batch_is_its_rows_split():
    row = torch.arange(78.0).unsqueeze(0)
    row[:, 32:37] = torch.tensor([1.0, 1, 0, 0, 0])  # masks follow 7 + 25 numbers
    batch = Batch.of(row, continuous=True)
    assert batch.state.self_state.tolist() == [list(range(7))]
    assert batch.state.objects_state[0, 1].tolist() == [12, 13, 14, 15, 16]
    assert batch.state.objects_mask.tolist() == [[True, True, False, False, False]]
    assert (batch.action.tolist(), batch.reward.item(), batch.not_done.item()) == ([[37, 38]], 39, 1 - 40)
    assert batch.next_state.self_state[0, 0] == 41
    discrete = Batch.of(row[:, :77], continuous=False)
    assert (discrete.action.tolist(), discrete.action.dtype) == ([[37]], torch.int64)


def test_stages_take_turns():
    class Slow(LEARNERS["DDPG"]):
        def stages(self):
            return Stage(self.critic_loss), Stage(self.actor_loss, every=2)

    learner = Slow(Slow.Settings())
    turns = [set(learner.update(batch_of_two())) for _ in range(4)]
    assert turns == [{"critic"}, {"critic", "actor"}] * 2
    twin = Slow(Slow.Settings())
    twin.load_state_dict(learner.state_dict())
    assert set(twin.update(batch_of_two())) == {"critic"}


def test_bellman_target_by_hand():
    learner = Agent(agent_type="DQN", GAMMA=0.5).learner
    transitions = batch_of_two(continuous=False)
    # 1 + 0.5·10 = 6; the terminal one does not bootstrap: -2.
    assert learner.bellman_target(transitions, torch.full((2, 1), 10.0)).tolist() == [[6.0], [-2.0]]
    learner.change(bootstrap_steps=3)  # 1 + 0.5³·16 = 3
    assert learner.bellman_target(transitions, torch.full((2, 1), 16.0)).tolist() == [[3.0], [-2.0]]


@pytest.mark.parametrize(("double", "value"), [(False, 8.0), (True, 4.0)])
def test_double_dqn_asks_the_network_which_action_is_best(monkeypatch, double, value):
    learner = Agent.of("DQN", LEARNERS["DQN"].Settings(discount=0.5, double=double)).learner
    target, local = torch.zeros(2, 25), torch.zeros(2, 25)
    target[:, 4], target[:, 9] = 4.0, 8.0  # the target network's best is action 9 ...
    local[:, 4] = 1.0  # ... the network's is action 4
    monkeypatch.setattr(learner.policy_target, "forward", lambda _: target)
    monkeypatch.setattr(learner.policy_local, "forward", lambda _: local)
    # Plain transition, action 3 of value 0: y = 1 + 0.5·value, L = y - 0.5. Terminal: y = -2, L = 1.5.
    found = learner.network_loss(batch_of_two(continuous=False), {})["network"].tolist()
    assert found == [1 + 0.5 * value - 0.5, 1.5]


def test_iqn_takes_the_maximum_of_every_fraction(monkeypatch):
    """Quirk A9, by hand: two fractions prefer two different actions, and both maxima enter the target."""
    learner = Agent(agent_type="IQN", GAMMA=1.0).learner
    learner.change(num_quantiles=2)
    target_quantiles = torch.zeros(2, 2, 25)
    target_quantiles[:, 0, 4] = 1.0  # best at the first fraction: action 4
    target_quantiles[:, 1, 9] = 2.0  # best at the second: action 9
    monkeypatch.setattr(learner.policy_target, "quantiles", lambda *_: target_quantiles)
    monkeypatch.setattr(learner.policy_local, "quantiles", lambda *_: torch.zeros(2, 2, 25))
    noise = {"target_taus": torch.full((2, 2, 1), 0.5), "local_taus": torch.full((2, 2, 1), 0.5)}
    transitions = batch_of_two(continuous=False)
    # Plain transition: y = (1 + 1, 1 + 2) = (2, 3), L = (1.5, 2.5), two local quantiles of weight ½: mean 2.
    # Terminal: y = (-2, -2), L = 1.5, weights |½ - 1| = ½: 1.5.
    assert learner.network_loss(transitions, noise)["network"].tolist() == [2.0, 1.5]


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_samples_have_losses_that_weights_scale(agent_type):
    learner = Agent(agent_type=agent_type).learner
    plain = batch_of_two(learner.continuous)
    weighted = plain._replace(weight=torch.tensor([0.5, 1.0]))
    learn_values = learner.stages()[0].loss
    for loss in learn_values(plain, learner.draw_noise(2)).values():
        first, second = loss.tolist()
        objectives = [learner.objective(loss, transitions) for transitions in (plain, weighted)]
        assert [x.item() for x in objectives] == pytest.approx(
            [(first + second) / 2, (first / 2 + second) / 2], rel=1e-6
        )
        assert learner.told(loss, objectives[1], weighted).tolist() == [first, second]
        if agent_type != "Rainbow":
            assert learner.told(loss, objectives[0], plain).item() == objectives[0].item()


@pytest.mark.parametrize("agent_type", ["AC-IQN", "IQN"])
def test_an_update_uses_as_many_fractions_as_asked_for(agent_type, monkeypatch):
    agent = Agent(agent_type=agent_type)
    learner = agent.learner
    learner.change(num_quantiles=3)
    seen = []
    original = type(learner).bellman_target

    def remember(self, transitions, next_value):
        seen.append(next_value.shape)
        return original(self, transitions, next_value)

    monkeypatch.setattr(type(learner), "bellman_target", remember)
    before = [parameter.clone() for parameter in learner.acting_network.parameters()]
    learner.update(batch_of_two(agent.continuous))
    assert seen == [(2, 3)]
    after = learner.acting_network.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_cvar_keeps_the_actor_alone_to_the_lower_tail(monkeypatch):
    learner = Agent(agent_type="AC-IQN").learner
    torch.manual_seed(5)
    whole = learner.draw_noise(64)
    learner.change(cvar=0.25)
    torch.manual_seed(5)
    tail = learner.draw_noise(64)
    assert torch.equal(tail["target_taus"], whole["target_taus"])
    assert torch.equal(tail["local_taus"], whole["local_taus"])
    assert torch.equal(tail["actor_taus"], whole["actor_taus"] / 4)
    # Of returns spread evenly over [0, 40] the lowest quarter has the mean 5.
    monkeypatch.setattr(learner.policy_local.critic, "quantiles", lambda s, a, taus: 40 * taus.squeeze(2))
    transitions = batch_of_two()
    assert -learner.actor_loss(transitions, tail)["actor"].item() == pytest.approx(5, abs=0.6)
