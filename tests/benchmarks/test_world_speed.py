"""Robot-steps per core-second of the NumPy world, and its ratio to the legacy world."""

import time

import pytest

from marinenav_env.envs import MarineNavEnv3

# Measured on the legacy world (R = 5, O = 4) with one thread of the machines the project was specified on;
# they hold there only, so read the ratio as an order of magnitude elsewhere.
LEGACY_ROBOT_STEPS_PER_CORE_SECOND = {0: 560.0, 4: 300.0}
EPISODE_STEPS = 60


def world(num_cores: int) -> MarineNavEnv3:
    env = MarineNavEnv3(seed=0)
    env.num_robots, env.num_cores, env.num_obs, env.min_start_goal_dis = 5, num_cores, 4, 40.0
    return env


def run_episode(env: MarineNavEnv3) -> int:
    """A reset and up to 60 steps with finished robots taken out; gives the robot-steps."""
    env.reset()
    robot_steps = 0
    for t in range(EPISODE_STEPS):
        actions = [[0.2 + 0.5 * ((t + i) % 3 - 1), 0.1 * i] for i in range(len(env.robots))]
        robot_steps += sum(not robot.deactivated for robot in env.robots)
        env.step(actions)
        for robot in env.robots:
            if robot.collision or robot.reach_goal:
                robot.deactivated = True
        if env.check_all_deactivated():
            break
    return robot_steps


@pytest.mark.benchmark
@pytest.mark.parametrize("num_cores", [0, 4])
def test_robot_steps_per_core_second(benchmark, num_cores: int) -> None:
    env = world(num_cores)
    robot_steps, seconds = [], []

    def episode() -> None:
        begin = time.process_time()
        robot_steps.append(run_episode(env))
        seconds.append(time.process_time() - begin)

    benchmark.pedantic(episode, rounds=20, warmup_rounds=2)
    rate = sum(robot_steps) / sum(seconds)
    ratio = rate / LEGACY_ROBOT_STEPS_PER_CORE_SECOND[num_cores]
    benchmark.extra_info.update(robot_steps_per_core_second=round(rate), ratio_to_legacy=round(ratio, 1))
    print(f"\n{num_cores} vortices: {rate:.0f} robot-steps per core-second, {ratio:.1f} times legacy")
