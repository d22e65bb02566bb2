"""PolicyWrapper: acting robot by robot and all at once, exploring and not."""

import numpy as np
import pytest
import torch
from torchrl.envs import set_exploration_type
from torchrl.envs.utils import ExplorationType

from agents.agent import Agent
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.collect.policy_wrapper import PolicySettings, PolicyWrapper
from torchrl_gpu.seeding import seed_everything

SCHEDULE = {
    "timesteps": [0],
    "num_robots": [4],
    "num_cores": [0],
    "num_obstacles": [3],
    "min_start_goal_dis": [20.0],
}


def new_policy(agent_type, num_envs=3, **options):
    agent = Agent(agent_type=agent_type, BUFFER_SIZE=100)
    env = MarineNavTorchRLEnv(num_envs, schedule=SCHEDULE, continuous=agent.continuous, dtype=torch.float64)
    return agent, env, PolicyWrapper(agent, **options)


@pytest.mark.parametrize("agent_type", ["AC-IQN", "DDPG", "DQN", "Rainbow"])
def test_batched_greedy_actions_are_those_of_the_legacy_agent(agent_type):
    agent, env, policy = new_policy(agent_type)
    state = env.reset()
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        batched = policy(state.clone())["agents", "action"]
        sequential = PolicyWrapper(agent, sequential=True)(state.clone())["agents", "action"]
    if agent.continuous:
        torch.testing.assert_close(batched, sequential, atol=1e-6, rtol=0)
    else:
        assert torch.equal(batched, sequential)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("agent_type", ["AC-IQN", "DQN"])
def test_robots_out_of_the_water_get_zeros(agent_type, sequential):
    seed_everything(4)
    _, env, policy = new_policy(agent_type, sequential=sequential)
    policy.eps = 1.0
    state = env.reset()
    state["agents", "active"][:, 1] = False
    action = policy(state)["agents", "action"]
    assert (action[:, 1] == 0).all()
    assert all((action[:, robot] != 0).any() for robot in (0, 2, 3))


@pytest.mark.parametrize("agent_type", ["AC-IQN", "IQN", "SAC"])
def test_an_environment_runs_under_the_policy(agent_type):
    agent, env, policy = new_policy(agent_type)
    policy.eps = 0.5
    rollout = env.rollout(20, policy)
    action = rollout["agents", "action"]
    assert action.dtype == (torch.float64 if agent.continuous else torch.int64)
    assert action.shape == ((3, 20, 4, 2) if agent.continuous else (3, 20, 4))


def explored(policy, env):
    """Share of robots whose action is not the greedy one."""
    state = env.reset()
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        greedy = policy(state.clone())["agents", "action"]
    different = [policy(state.clone())["agents", "action"] != greedy for _ in range(40)]
    share = torch.stack(different).float()
    return share.flatten(3).amax(-1).mean().item() if share.ndim > 3 else share.mean().item()


@pytest.mark.parametrize("agent_type", ["AC-IQN", "DQN"])
def test_each_robot_explores_with_probability_eps(agent_type):
    seed_everything(4)
    _, env, policy = new_policy(agent_type, num_envs=10)
    shares = []
    for eps in (0.0, 0.3, 1.0):
        policy.eps = eps
        shares.append(explored(policy, env))
    uniform_hits_greedy = 0.0 if agent_type == "AC-IQN" else 1 / 25
    # 40 x 40 robots: 5 standard deviations are 0.06.
    assert shares == pytest.approx([0.0, 0.3 * (1 - uniform_hits_greedy), 1 - uniform_hits_greedy], abs=0.06)


def test_action_noise_moves_greedy_actions_and_keeps_them_in_range():
    _, env, policy = new_policy("AC-IQN", num_envs=50, settings=PolicySettings(action_noise=0.1))
    state = env.reset()
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        greedy = policy(state.clone())["agents", "action"]
    noisy = policy(state.clone())["agents", "action"]
    assert (noisy - greedy).std().item() == pytest.approx(0.1, rel=0.15)
    assert noisy.abs().max() <= 1


@pytest.mark.parametrize("agent_type", ["AC-IQN", "DQN"])
def test_only_the_exploring_environments_explore(agent_type):
    seed_everything(4)
    _, env, policy = new_policy(agent_type, num_envs=10, settings=PolicySettings(exploring_envs=0.35))
    state = env.reset()
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        greedy = policy(state.clone())["agents", "action"]
    policy.eps = 1.0
    actions = [policy(state.clone())["agents", "action"] for _ in range(20)]
    explored = [torch.stack([action != greedy for action in actions])[:, k].any() for k in range(10)]
    assert explored == [True] * 4 + [False] * 6


@pytest.mark.parametrize("eps", [-0.1, 1.1, np.nan])
def test_an_impossible_epsilon_is_refused(eps):
    _, _, policy = new_policy("DDPG", num_envs=1)
    with pytest.raises(ValueError, match="allowed is"):
        policy.eps = eps
