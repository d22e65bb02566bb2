"""PettingZoo and Gymnasium accept the environment as theirs; the numbers are those of the worlds."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torchrl.envs import PettingZooWrapper
from torchrl.envs.utils import check_env_specs

from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.reference.world import MarineNavEnv3

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")

from gymnasium.utils.env_checker import check_env  # noqa: E402
from pettingzoo.test import parallel_api_test, parallel_seed_test  # noqa: E402

from marinenav_env.envs.gymnasium import MarineNavGymnasiumEnv  # noqa: E402
from marinenav_env.envs.gymnasium_vector import MarineNavVectorEnv  # noqa: E402
from marinenav_env.envs.pettingzoo import parallel_env  # noqa: E402
from marinenav_env.registration import ID  # noqa: E402

SMALL = {"num_robots": 3, "num_cores": 1, "num_obs": 2, "min_start_goal_dis": 10.0}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("continuous", [True, False])
def test_pettingzoo_accepts_it(continuous):
    parallel_api_test(parallel_env(**SMALL, continuous=continuous, seed=0), num_cycles=50)
    parallel_seed_test(lambda: parallel_env(**SMALL, continuous=continuous), num_cycles=10)


def test_an_agent_gives_the_numbers_of_the_reference_world():
    env, world = parallel_env(**SMALL), MarineNavEnv3(seed=5, **SMALL)
    observations, _ = env.reset(seed=5)
    expected, _, _ = world.reset()
    for _ in range(5):
        for i, (own, _) in enumerate(expected):
            np.testing.assert_array_equal(observations[f"robot_{i}"][:7], np.float32(own))
        actions = {agent: np.array([0.5, 1.0], np.float32) for agent in env.agents}
        observations, rewards, *_ = env.step(actions)
        expected, due, _, _ = world.step([[0.5, 1.0]] * 3)
        assert list(rewards.values()) == [np.float32(reward) for reward in due]


def test_vessels_leave_when_they_end_or_are_cut_off():
    env = parallel_env(**SMALL, seed=1)
    env.reset()
    told, steps = {}, 0
    while env.agents:
        before = list(env.agents)
        _, _, terminated, truncated, infos = env.step({agent: np.ones(2, np.float32) for agent in before})
        gone = {agent for agent in before if terminated[agent] or truncated[agent]}
        assert set(env.agents) == set(before) - gone
        told |= {agent: (terminated[agent], infos[agent]["outcome"]) for agent in gone}
        steps += 1
    assert set(told) == set(env.possible_agents)
    ending = (Outcome.COLLISION, Outcome.REACH_GOAL)
    assert all(ended == (outcome in ending) for ended, outcome in told.values())
    assert steps <= 1001


def test_torchrl_takes_it_back():
    check_env_specs(PettingZooWrapper(parallel_env(**SMALL, seed=0), group_map=None, use_mask=True))


@pytest.mark.parametrize("continuous", [True, False])
def test_gymnasium_accepts_one_vessel(continuous):
    check_env(gymnasium.make(ID, **SMALL | {"num_robots": 1}, continuous=continuous).unwrapped)


def test_gymnasium_knows_it_from_the_import_of_the_package_on():
    early = (
        "import marinenav_env, gymnasium as g, sys; g.spec('MarineNav-v3'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", early], check=True)
    assert gymnasium.make("marinenav_env:MarineNav-v3").spec.id == ID


def test_a_policy_drives_the_other_vessels():
    asked = []

    def ahead(observation):
        asked.append(observation)
        return [1.0, 1.0]

    env, world = MarineNavGymnasiumEnv(ahead, **SMALL), MarineNavEnv3(seed=3, **SMALL)
    env.reset(seed=3)
    observations, _, _ = world.reset()
    seen, reward, *_ = env.step([0.0, 0.0])
    np.testing.assert_allclose(asked[0][0], observations[1][0], rtol=1e-6)
    observations, rewards, _, _ = world.step([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert len(asked) == 2
    assert reward == np.float32(rewards[0])
    np.testing.assert_array_equal(seen[:7], np.float32(observations[0][0]))


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="others is None"):
        MarineNavGymnasiumEnv(**SMALL)
    with pytest.raises(TypeError, match="backend"):
        parallel_env(backend="torch")
    with pytest.raises(ValueError, match="num_robots is 0"):
        parallel_env(num_robots=0)


def to_goal(seen):
    """Thrust changes that turn the bow to the goal: more to port where it lies to starboard."""
    turn = np.clip(seen[:, 1:2] / 5, -1, 1) * [[1, -1]]
    return np.clip((400 + 400 * turn - seen[:, 5:7]) / 500, -1, 1).astype(np.float32)


def test_pictures_of_the_faces():
    one = gymnasium.make(ID, render_mode="rgb_array", num_robots=1)
    fleet = parallel_env(render_mode="rgb_array", **SMALL)
    for env in (one, fleet):
        env.reset(seed=0)
        picture = env.render()
        assert (picture.shape, picture.dtype) == ((256, 256, 3), np.uint8)
    fleet.step({agent: np.ones(2, np.float32) for agent in fleet.agents})
    assert (fleet.render() != picture).any()
    assert parallel_env(**SMALL).render() is None
    with pytest.raises(ValueError, match="render_mode is 'human'; allowed are None and 'rgb_array'"):
        parallel_env(render_mode="human")


def test_rows_of_the_vector_face():
    env = MarineNavVectorEnv(4, **SMALL, seed=0)
    seen, infos = env.reset(seed=0)
    assert seen.shape == (12, 37)
    assert env.observation_space.contains(seen)
    active, ends = infos["active"], 0
    for _ in range(150):
        seen, reward, terminated, truncated, infos = env.step(to_goal(seen))
        np.testing.assert_array_equal(infos["active"], active)
        assert not (reward[~active]).any()
        assert not (terminated & ~active).any()
        ended = infos.get("_final_obs", np.zeros(12, bool))
        np.testing.assert_array_equal((terminated | truncated)[ended], True)
        np.testing.assert_array_equal(ended.reshape(4, 3).all(1), ended.reshape(4, 3).any(1))
        active = np.where(ended, seen.any(1), active & ~terminated & ~truncated)
        ends += ended.sum()
    assert ends
    again, _ = MarineNavVectorEnv(4, **SMALL).reset(seed=0)
    np.testing.assert_array_equal(again, env.reset(seed=0)[0])


def test_stable_baselines_learns_on_one_vessel_and_on_three():
    sb3, supersuit = pytest.importorskip("stable_baselines3"), pytest.importorskip("supersuit")
    torch.manual_seed(0)
    one = gymnasium.make(ID, num_robots=1)
    sb3.PPO("MlpPolicy", one, n_steps=32, batch_size=32, device="cpu").learn(64)
    vector = supersuit.pettingzoo_env_to_vec_env_v1(supersuit.black_death_v3(parallel_env(**SMALL)))
    three = supersuit.concat_vec_envs_v1(vector, 1, base_class="stable_baselines3")
    sb3.PPO("MlpPolicy", three, n_steps=32, batch_size=32, device="cpu").learn(192)
