"""What a world is asked for: keywords, what finds room, actions and files that are refused."""

import copy
import re
from math import inf, nan

import numpy as np
import pytest

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.episode import things_in, validate_episode
from marinenav_env.envs.contract.rewards import REWARDS
from marinenav_env.envs.contract.stage import Stage, check_curriculum, stages_of
from marinenav_env.envs.reference.scenario import Core, room_for

SCHEDULE = {
    "timesteps": [0, 100],
    "num_robots": [1, 2],
    "num_cores": [0, 1],
    "num_obstacles": [2, 3],
    "min_start_goal_dis": [20.0, 25.0],
}


def numbers(env: MarineNavEnv3) -> dict:
    """The state without the names of parts: comparable with ==."""
    data = env.episode_data()
    return data | {"positions": [(robot.x, robot.y) for robot in env.robots]}


# ---- keywords -------------------------------------------------------------------------------------------


def test_keywords_are_attributes_set_after_construction() -> None:
    keywords = {"num_robots": 3, "num_cores": 2, "num_obs": 1, "min_start_goal_dis": 25.0}
    keywords |= {"collision_penalty": -10.0, "goal_reward": 20}
    given, afterwards = MarineNavEnv3(seed=5, **keywords), MarineNavEnv3(seed=5)
    for name, value in keywords.items():
        setattr(afterwards, name, value)
    given.reset()
    afterwards.reset()
    assert given.stage == Stage(3, 2, 1, 25.0)
    assert given.collision_penalty == -10.0
    assert numbers(given) == numbers(afterwards)


def test_one_keyword_leaves_the_other_defaults() -> None:
    assert MarineNavEnv3(num_obs=0).stage == Stage(num_obs=0)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_robots": 0}, "num_robots is 0; allowed are 1 and more"),
        ({"num_cores": -1}, "num_cores is -1; allowed are 0 and more"),
        ({"min_start_goal_dis": nan}, "min_start_goal_dis is nan; allowed are 0 and more"),
        ({"goal_reward": nan}, "goal_reward is nan; allowed are finite numbers"),
        ({"schedule": SCHEDULE, "num_obs": 1}, "num_obs is given as 1; allowed is what the schedule says"),
    ],
)
def test_keywords_out_of_range(keywords: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarineNavEnv3(**keywords)


def test_an_unknown_keyword() -> None:
    allowed = "; of rewards allowed are timestep_penalty"
    for name, hint in {"num_obstacles": " (did you mean 'num_obs'?)", "zzz": ""}.items():
        with pytest.raises(TypeError, match=re.escape(f"unknown argument {name!r}{hint}{allowed}")):
            MarineNavEnv3(**{name: 1})


def test_every_term_of_the_reward_is_a_keyword_and_an_attribute() -> None:
    weights = {name: float(k) for k, name in enumerate(REWARDS)}
    env = MarineNavEnv3(**weights)
    assert {name: getattr(env, name) for name in REWARDS} == weights


def test_a_change_of_thrust_costs_what_its_weight_says_and_nothing_by_default() -> None:
    rewards = {}
    for weight in (0.0, -0.5):
        env = MarineNavEnv3(seed=4, num_robots=1, num_cores=0, num_obs=0, thrust_change_penalty=weight)
        env.reset()
        steps = [[0.4, -0.6], [1.0, -0.6], [0.0, 0.0]]  # thrusts (200, -300), (700, -500), both stay
        rewards[weight] = np.array([env.step([action])[1][0] for action in steps])
    np.testing.assert_allclose(rewards[-0.5] - rewards[0.0], [-0.25, -0.35, 0.0], atol=1e-12)


def test_closeness_costs_what_its_weight_says_from_five_metres_on() -> None:
    env = MarineNavEnv3(seed=4, num_robots=2, num_cores=0, num_obs=0, closeness_penalty=-2.0)
    env.reset()
    one, other = env.robots
    other.perception.angle = 0.0  # it has nothing in sight
    rewards = {}
    for gap in (10.0, 5.0, 2.5, 0.5):
        for robot, x in ((one, 20.0), (other, 20.0 + one.r + other.r + gap)):
            robot.start, robot.goal, robot.init_theta = np.array([x, 30.0]), np.array([x, 50.0]), 0.0
            robot.init_velocity_r, robot.perception.pos_std = np.zeros(3), 0.0
            robot.perception.r_mean_ratio = 1.0
            robot.reset_state(np.zeros(3))
        rewards[gap] = np.array(env.step([[0.0, 0.0]] * 2)[1])
    changes = {gap: reward - rewards[10.0] for gap, reward in rewards.items()}
    for gap, expected in ((5.0, 0.0), (2.5, -1.0), (0.5, -1.8)):
        np.testing.assert_allclose(changes[gap], [expected, 0.0], atol=1e-9)


def test_files_hold_a_later_term_only_where_it_is_not_the_default() -> None:
    env, other = MarineNavEnv3(seed=1), MarineNavEnv3(thrust_change_penalty=-0.3)
    env.reset()
    old = env.episode_data()
    assert "thrust_change_penalty" not in old["env"]
    other.reset_with_eval_config(old)
    assert other.thrust_change_penalty == 0.0
    env.thrust_change_penalty = -0.2
    other.reset_with_eval_config(env.episode_data())
    assert other.thrust_change_penalty == -0.2
    assert other.episode_data()["env"] == old["env"] | {"thrust_change_penalty": -0.2}


# ---- stages ---------------------------------------------------------------------------------------------


def test_stages_of_a_schedule() -> None:
    assert stages_of(SCHEDULE) == [Stage(1, 0, 2, 20.0), Stage(2, 1, 3, 25.0)]
    check_curriculum(SCHEDULE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_cores": [0]}, "lists have lengths"),
        ({"num_robots": [1, 0]}, "has 0 in 'num_robots'"),
        ({key: [] for key in SCHEDULE}, "lists have lengths"),
    ],
)
def test_curricula_that_are_none(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_curriculum(SCHEDULE | change)


def test_a_curriculum_without_a_list() -> None:
    with pytest.raises(ValueError, match=r"schedule lacks \['num_cores'\]"):
        check_curriculum({key: value for key, value in SCHEDULE.items() if key != "num_cores"})


# ---- room -----------------------------------------------------------------------------------------------


def test_a_world_tells_what_found_room() -> None:
    """Quirk W9: what finds none is missing."""
    env = MarineNavEnv3(seed=3, num_robots=100, num_cores=0, num_obs=200)
    env.reset()
    assert env.stage == Stage(100, 0, 200, 30.0)
    assert 5 < env.placed.num_robots < 30
    assert 10 < env.placed.num_obs < 100
    episode = env.episode_data()
    assert things_in(episode) == (env.placed.num_robots, 0, env.placed.num_obs)
    assert episode["env"]["num_robots"] == 100  # Quirk W27


@pytest.mark.parametrize("stage", [Stage(), Stage(1, 0, 0, 0.0), Stage(3, 4, 4, 55.0), Stage(12, 0, 0, 30.0)])
def test_what_fits_has_room(stage: Stage) -> None:
    assert room_for(stage) == stage


@pytest.mark.parametrize(
    ("stage", "few", "many"),
    [
        (Stage(100, 8, 8, 30.0), (12, 8, 8), (25, 8, 8)),
        (Stage(6, 100, 100, 30.0), (6, 60, 30), (6, 99, 99)),
        (Stage(2, 0, 0, 72.0), (0, 0, 0), (1, 0, 0)),
    ],
)
def test_what_does_not_fit_has_no_room(stage: Stage, few: tuple, many: tuple) -> None:
    found = room_for(stage)
    assert all(low <= number <= high for low, number, high in zip(few, found, many, strict=False))
    assert room_for(stage) == found


# ---- actions --------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> MarineNavEnv3:
    env = MarineNavEnv3(seed=4, num_robots=2, num_cores=0, num_obs=0, is_eval_env=True)
    env.reset()
    return env


@pytest.mark.parametrize("action", [[nan, 0.0], [0.0, inf], [0.1, 0.2, 0.3], np.array([0.0, nan]), ["a", 0]])
def test_a_command_that_is_no_number_moves_nobody(world: MarineNavEnv3, action: object) -> None:
    before = numbers(world)
    with pytest.raises(ValueError, match=r"robot 1: action: two finite numbers needed, not ") as error:
        world.step([[0.1, 0.1], action])
    assert repr(action) in str(error.value)
    assert numbers(world) == before
    assert world.episode_timesteps == 0


@pytest.mark.parametrize("action", [-1, 25, -25])
def test_an_index_outside_the_actions_moves_nobody(world: MarineNavEnv3, action: int) -> None:
    before = numbers(world)
    with pytest.raises(IndexError, match=rf"robot 1: action: an index in 0\.\.24 needed, not {action}"):
        world.step([3, action], is_continuous_action=False)
    assert numbers(world) == before


def test_actions_of_deactivated_robots_are_not_read(world: MarineNavEnv3) -> None:
    world.robots[1].collision = world.robots[1].deactivated = True
    world.step([[0.1, 0.1], None])
    assert world.episode_timesteps == 1


# ---- numbers at their limits ----------------------------------------------------------------------------


def test_still_cores_that_touch(world: MarineNavEnv3) -> None:
    """The strength of neither is divided by the gap of 0 between them."""
    world.robots.clear()
    world.cores = [Core(10.0, 10.0, 0, 0.0)]
    assert all(world.check_core(Core(10.0 + d, 10.0, 1, 0.0)) for d in (0.5, 1.0, 1.5))
    world.cores = [Core(10.0, 10.0, 0, 3.0)]
    assert not world.check_core(Core(11.0, 10.0, 1, 0.0))


def test_a_negative_number_of_objects_is_none(world: MarineNavEnv3) -> None:
    other, robot = world.robots[1], world.robots[0]
    other.x, other.y = robot.x + 12.0, robot.y
    robot.perception.max_obj_num = -1
    assert world.get_observations()[0][0][1] == []
    data = copy.deepcopy(world.episode_data())
    with pytest.raises(ValueError, match=r"perception\.max_obj_num is -1; at least 0 is allowed"):
        validate_episode(data)
