"""TD3, without recorded numbers: its losses by hand, whom they move, and its way through the pipelines."""

import copy
import json

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.learners.descent import Stage
from agents.learners.td3 import TD3
from agents.policies import load_policy
from tests.unit.learner_ways import assert_survives_folder, assert_survives_tracing, train_both_modes
from tests.unit.test_agents_losses import batch_of_two


def learner_of(**keys):
    return Agent.of("TD3", TD3.Settings(**keys)).learner


def test_critic_losses_by_hand():
    learner = learner_of(discount=0.5)
    target, local = learner.policy_target, learner.policy_local
    target.actor = lambda state: torch.tensor([[0.9, 0.9], [0.0, 0.0]])
    target.critic_1 = lambda state, actions: actions.sum(dim=1, keepdim=True)
    target.critic_2 = lambda state, actions: actions[:, :1] - actions[:, 1:]
    local.critic_1 = lambda state, actions: torch.zeros(2, 1)
    local.critic_2 = lambda state, actions: torch.ones(2, 1)
    noise = {"target_normal": torch.tensor([[3.0, -1.0], [0.0, 0.0]])}
    losses = learner.critic_losses(batch_of_two(), noise)
    # Noise 0.2·(3, -1) = (0.6, -0.2), clipped to (0.5, -0.2); actions (1.4, 0.7), in range (1.0, 0.7).
    # Target critics give 1.7 and 0.3, the smaller bootstraps: y = 1 + 0.5·0.3 = 1.15; the terminal one is -2.
    # Critic 1 says 0: 1.15² = 1.3225, 2² = 4. Critic 2 says 1: 0.15² = 0.0225, 3² = 9.
    assert losses["critic_1"].tolist() == pytest.approx([1.3225, 4.0])
    assert losses["critic_2"].tolist() == pytest.approx([0.0225, 9.0])


def test_keys_of_the_noise():
    learner = learner_of(discount=1.0, target_noise=1.0, noise_clip=0.25)
    learner.policy_target.actor = lambda state: torch.zeros(2, 2)
    learner.policy_target.critic_1 = lambda state, actions: actions[:, :1]
    learner.policy_target.critic_2 = lambda state, actions: actions[:, 1:]
    learner.policy_local.critic_1 = learner.policy_local.critic_2 = lambda *_: torch.zeros(2, 1)
    losses = learner.critic_losses(batch_of_two(), {"target_normal": torch.tensor([[0.5, 0.125]] * 2)})
    # Actions (0.25, 0.125), the smaller value 0.125: (1 + 0.125)² = 1.265625.
    assert losses["critic_1"].tolist() == pytest.approx([1.265625, 4.0])


def test_actor_loss_by_hand():
    learner = learner_of()
    learner.policy_local.actor = lambda state: torch.tensor([[0.5, 0.25], [1.0, -1.0]])
    learner.policy_local.critic_1 = lambda state, actions: actions.sum(dim=1, keepdim=True)
    # Values 0.75 and 0, mean 0.375; the second critic has no say.
    assert learner.actor_loss(batch_of_two(), {})["actor"].item() == -0.375


@pytest.mark.parametrize(
    ("stage", "moved"), [("critic_losses", {"critic_1", "critic_2"}), ("actor_loss", {"actor"})]
)
def test_a_loss_moves_its_own_networks_only(stage, moved):
    learner = learner_of()
    networks = learner.networks(learner.policy_local)
    before = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}
    stages = (Stage(getattr(learner, stage)),)
    learner.descend(stages, batch_of_two(), learner.draw_noise(2), learner.step)
    changed = {
        name
        for name, network in networks.items()
        if any(not torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
    }
    assert changed == moved


def test_the_actor_learns_at_every_second_update():
    learner = learner_of()
    turns = [set(learner.update(batch_of_two())) for _ in range(4)]
    assert turns == [{"critic_1", "critic_2"}, {"critic_1", "critic_2", "actor"}] * 2
    assert set(learner_of(policy_delay=1).update(batch_of_two())) == {"critic_1", "critic_2", "actor"}


def test_both_modes_train_it(tmp_path):
    train_both_modes("td3", tmp_path)


@pytest.mark.parametrize("told", ["TD3-like", "SAC", None])
def test_of_learners_with_the_same_networks_a_folder_is_of_that_which_trained_it(told, tmp_path):
    class Like(TD3, name="TD3-like"):
        pass

    best = tmp_path / "best"
    best.mkdir()
    try:
        Agent.of("TD3", TD3.Settings()).save_latest_model(best)
        (tmp_path / "trial_config.json").write_text(json.dumps({"agent_type": told}))
        assert load_policy(best).agent_type == (told if told == "TD3-like" else "TD3")
    finally:
        del LEARNERS["TD3-like"]


def test_files(tmp_path):
    agent = Agent.of("TD3", TD3.Settings(), seed=3)
    assert_survives_folder(agent, tmp_path)
    assert_survives_tracing(agent, tmp_path, lambda policy, state: policy.actor(state))
