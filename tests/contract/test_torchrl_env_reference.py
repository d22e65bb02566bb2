"""NumPy backend in float64 against a `MarineNavEnv3` driven by hand as the legacy loops do: bit for bit."""

import numpy as np
import pytest
import torch

from marinenav_env.envs.contract.outcome import OUTCOME_OF_STATE, Outcome
from marinenav_env.envs.reference.world import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.env import MarineNavTorchRLEnv
from tests.contract.goal_seeker import GoalSeeker

SCHEDULE = {
    "timesteps": [0, 150],
    "num_robots": [2, 4],
    "num_cores": [1, 2],
    "num_obstacles": [1, 3],
    "min_start_goal_dis": [10.0, 12.0],
}


class HandDriven:
    """One world, with the caller's duties of environment spec 11 done step by step."""

    def __init__(self, seed, continuous, **kwargs):
        self.world = MarineNavEnv3(seed=seed, **kwargs)
        self.world.verbose = False
        self.continuous = continuous
        self.observations, *_ = self.world.reset()

    def step(self, actions):
        world = self.world
        given = [
            None if r.deactivated else a
            for r, a in zip(world.robots, actions[: len(world.robots)], strict=True)
        ]
        self.observations, rewards, dones, infos = world.step(given, self.continuous)
        for robot in world.robots:
            if robot.collision or robot.reach_goal:
                robot.deactivated = True
        states = [info["state"] for info in infos]
        return rewards, dones, states

    def reset_if_ended(self):
        if self.world.episode_timesteps > 1000 or self.world.check_all_deactivated():
            self.observations, *_ = self.world.reset()
            return True
        return False


def observations_of(agents):
    """Legacy observation lists of environment 0 from the padded tensors."""
    out = []
    for own, objects, mask, outcome in zip(
        agents["self_state"][0].tolist(),
        agents["objects_state"][0].tolist(),
        agents["objects_mask"][0],
        agents["outcome"][0, :, 0].tolist(),
        strict=True,
    ):
        if outcome == Outcome.ABSENT:
            continue
        count = int(mask.sum())
        assert mask[:count].all()
        away = outcome in (Outcome.DEACTIVATED_AFTER_COLLISION, Outcome.DEACTIVATED_AFTER_REACHING_GOAL)
        out.append((None, None) if away else (own, objects[:count]))
    return out


def walk_both(env, td, hand, policy, steps):
    """Step both with the environment's actions, comparing every number; returns the number of episodes."""
    episodes = 0
    for _ in range(steps):
        assert observations_of(td["agents"]) == hand.observations
        td, following = env.step_and_maybe_reset(policy(td))
        after = td["next"]
        rewards, dones, states = hand.step(td["agents", "action"][0].tolist())
        count = len(states)
        assert observations_of(after["agents"]) == hand.observations
        assert after["agents", "reward"][0, :count, 0].tolist() == rewards
        assert after["agents", "done"][0, :count, 0].tolist() == dones
        assert after["agents", "outcome"][0, :count, 0].tolist() == [OUTCOME_OF_STATE[s] for s in states]
        deactivated = [robot.deactivated for robot in hand.world.robots]
        assert [not a for a in after["agents", "active"][0, :count, 0].tolist()] == deactivated
        ended = hand.reset_if_ended()
        assert after["done"].item() == ended
        episodes += ended
        td = following
    assert env.world.worlds[0].rd.get_state()[1].tolist() == hand.world.rd.get_state()[1].tolist()
    assert env.world.total_timesteps == hand.world.total_timesteps == steps
    return episodes


def build(continuous, **kwargs):
    env = MarineNavTorchRLEnv(
        seed=7, continuous=continuous, dtype=torch.float64, schedule=SCHEDULE, is_eval_env=True, **kwargs
    )
    return env, HandDriven(7, continuous, schedule=SCHEDULE, is_eval_env=True)


@pytest.mark.parametrize("continuous", [True, False])
def test_whole_episodes_equal_the_hand_driven_world(continuous):
    env, hand = build(continuous)
    assert walk_both(env, env.reset(), hand, GoalSeeker(continuous), 400) >= 5
    assert env.episode_data() == [hand.world.episode_data()]
    (taken,) = {type(a) for r in env.world.worlds[0].robots for a in np.ravel(r.action_history).tolist()}
    assert taken is (float if continuous else int)


@pytest.mark.parametrize(
    ("owner", "name", "change"),
    [("world", "timestep_penalty", 1e-15), ("robot", "goal_dis", 0.5), ("perception", "pos_std", 1e-12)],
)
def test_broken_twin_is_noticed(owner, name, change):
    env, hand = build(True)
    td = env.reset()
    world = env.world.worlds[0]
    owners = {
        "world": [world],
        "robot": world.robots,
        "perception": [robot.perception for robot in world.robots],
    }
    for target in owners[owner]:
        setattr(target, name, getattr(target, name) + change)
    with pytest.raises(AssertionError):
        walk_both(env, td, hand, GoalSeeker(), 60)


def test_environment_k_is_the_world_of_seed_plus_k():
    env = MarineNavTorchRLEnv(3, seed=11, dtype=torch.float64)
    td = env.reset()
    for k in range(3):
        world = MarineNavEnv3(seed=11 + k)
        observations, *_ = world.reset()
        assert td["agents", "self_state"][k].tolist() == [own for own, _ in observations]
    assert env.set_seed(20) is not None
    observations, *_ = MarineNavEnv3(seed=22).reset()
    assert env.reset()["agents", "self_state"][2].tolist() == [own for own, _ in observations]


def test_arrival_at_the_cut_off_step_reports_the_cut_off():
    env = MarineNavTorchRLEnv(dtype=torch.float64)
    env.num_robots, env.num_cores, env.num_obs = 2, 0, 0
    td = env.reset()
    world = env.world.worlds[0]
    world.episode_timesteps = 1000
    world.robots[0].goal = np.array([world.robots[0].x, world.robots[0].y])
    after = env.step(td.set(("agents", "action"), torch.zeros(1, 6, 2)))["next"]
    assert after["agents", "outcome"][0, :3, 0].tolist() == [Outcome.TOO_LONG_EPISODE] * 2 + [Outcome.ABSENT]
    assert after["agents", "reward"][0, 0].item() == world.timestep_penalty  # Quirk W23: no goal reward
    assert after["truncated"].item()
    assert not after["terminated"].item()
    assert after["agents", "done"][0, :2].all()
    assert not after["agents", "terminated"].any()
    assert after["agents", "active"][0, :2, 0].tolist() == [
        False,
        True,
    ]  # the caller deactivates all the same
