"""Arguments of the TorchRL environment, what it refuses, and what importing it costs."""

import subprocess
import sys

import pytest
import torch

from marinenav_env.envs.contract.outcome import STATE_OF_OUTCOME, Outcome, ending_flags
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv, specs

SCHEDULE = {
    "timesteps": [0, 10],
    "num_robots": [2, 4],
    "num_cores": [0, 1],
    "num_obstacles": [0, 1],
    "min_start_goal_dis": [10.0, 12.0],
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0; allowed are 1 and more"),
        ({"backend": "jax"}, "backend is 'jax'; allowed are 'numpy', 'torch'"),
        ({"dtype": torch.float16}, "dtype is torch.float16; allowed are torch.float32, torch.float64"),
        ({"seed": -1}, "seed is -1; allowed are None and integers from 0"),
        ({"seed": 0.5}, "seed is 0.5; allowed are None and integers from 0"),
        ({"num_robots": 3, "max_robots": 2}, "num_robots is 3; allowed are 1 to max_robots=2"),
        ({"num_cores": -1}, "num_cores is -1; allowed are 0 and more"),
        ({"schedule": SCHEDULE, "num_obs": 2}, "num_obs is given as 2; allowed is what the schedule says"),
        ({"goal_reward": float("nan")}, "goal_reward is nan; allowed are finite numbers"),
        ({"max_robots": 0}, "max_robots is 0; allowed are 1 and more"),
        ({"schedule": SCHEDULE, "max_robots": 3}, "max_robots is 3; allowed are 4 and more"),
        ({"schedule": {"timesteps": [0]}}, "schedule lacks .'num_robots', 'num_cores'"),
        ({"schedule": SCHEDULE | {"num_cores": [1]}}, "'num_cores': 1.* allowed are equal lengths"),
        ({"schedule": SCHEDULE | {"num_robots": [3, 0]}}, "schedule has 0 in 'num_robots'; allowed are 1"),
        ({"schedule": {key: [] for key in SCHEDULE}}, "allowed are equal lengths of 1 and more"),
        ({"backend": "torch", "is_eval_env": True}, "is_eval_env=True needs backend='numpy'"),
        ({"compile": True}, "compile=True needs backend='torch'"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MarineNavTorchRLEnv(**arguments)


def test_specs_are_made_for_the_device_of_the_environment():
    meta = torch.device("meta")
    for spec in (
        specs.done_spec(2, 3, meta),
        specs.reward_spec(2, 3, torch.float32, meta),
        specs.observation_spec(2, 3, torch.float32, meta),
        specs.action_spec(2, 3, False, torch.float32, meta),
    ):
        assert {leaf.device for leaf in spec.values(True, True)} == {meta}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_robots", 7, "num_robots is 7; allowed are 1 to max_robots=6"),
        ("num_robots", 0, "num_robots is 0; allowed are 1 and more"),
        ("num_cores", -1, "num_cores is -1; allowed are 0 and more"),
        ("num_obs", -1, "num_obs is -1; allowed are 0 and more"),
        ("min_start_goal_dis", -0.5, "min_start_goal_dis is -0.5; allowed are 0 and more"),
    ],
)
def test_refused_scenario_attributes(name, value, message):
    with pytest.raises(ValueError, match=message):
        setattr(MarineNavTorchRLEnv(), name, value)


def test_scenario_attributes_start_at_the_legacy_defaults():
    env = MarineNavTorchRLEnv()
    assert (env.num_robots, env.num_cores, env.num_obs, env.min_start_goal_dis) == (6, 8, 8, 30.0)
    env.num_cores = 3
    assert [world.num_cores for world in env.world.worlds] == [3]


def test_scenario_attributes_with_a_schedule_are_refused():
    env = MarineNavTorchRLEnv(schedule=SCHEDULE)
    with pytest.raises(ValueError, match="num_robots is given as 2; allowed is what the schedule says"):
        env.num_robots = 2


def test_stages_of_the_numpy_backend_are_refused():
    with pytest.raises(ValueError, match="stages are pinned with backend='torch' only"):
        MarineNavTorchRLEnv(schedule=SCHEDULE).world.pin(0)


def test_refused_actions_and_episodes():
    env = MarineNavTorchRLEnv(2, max_robots=2)
    env.num_robots = 2
    td = env.reset()
    with pytest.raises(ValueError, match=r"action has shape \(2, 2\); allowed is \(2, 2, 2\)"):
        env.step(td.set(("agents", "action"), torch.zeros(2, 2)))
    episodes = env.episode_data()
    with pytest.raises(ValueError, match="episodes has 1 entries; allowed are exactly num_envs=2"):
        env.reset_with_eval_configs(episodes[:1])
    narrow = MarineNavTorchRLEnv(2, max_robots=1)
    with pytest.raises(ValueError, match="episodes ask for 2 robots; allowed are 1 to max_robots=1"):
        narrow.reset_with_eval_configs(episodes)


def test_scenario_without_room_for_a_robot_is_refused():
    env = MarineNavTorchRLEnv()
    env.min_start_goal_dis = 500.0  # wider than the map
    with pytest.raises(ValueError, match="environment 0 starts with 0 robots; allowed are 1 to max_robots=6"):
        env.reset()


def test_schedule_is_quiet(capsys):
    MarineNavTorchRLEnv(schedule=SCHEDULE).reset()
    assert capsys.readouterr().out == ""


def test_ending_flags_of_hand_worked_outcomes():
    o = Outcome
    outcome = torch.tensor(
        [
            [o.NORMAL, o.COLLISION, o.ABSENT],
            [o.REACH_GOAL, o.DEACTIVATED_AFTER_COLLISION, o.ABSENT],
            [o.TOO_LONG_EPISODE, o.DEACTIVATED_AFTER_REACHING_GOAL, o.TOO_LONG_EPISODE],
        ],
        dtype=torch.int8,
    )[..., None]
    for given in (outcome, outcome.numpy()):
        robots, root = ending_flags(given)
        assert robots["terminated"][..., 0].tolist() == [
            [False, True, False],
            [True, True, False],
            [False, True, False],
        ]
        assert robots["done"][..., 0].tolist() == [[False, True, False], [True, True, False], [True] * 3]
        assert root["terminated"][:, 0].tolist() == [False, True, False]
        assert root["truncated"][:, 0].tolist() == [False, False, True]
        assert root["done"][:, 0].tolist() == [False, True, True]


def test_outcomes_name_the_legacy_states():
    assert [STATE_OF_OUTCOME.get(o) for o in Outcome] == [
        "normal",
        "collision",
        "reach goal",
        "deactivated after collision",
        "deactivated after reaching goal",
        "too long episode",
        None,
    ]


def test_importing_the_world_does_not_import_torch():
    code = "import sys, marinenav_env.envs.torchrl_gpu, marinenav_env.envs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
