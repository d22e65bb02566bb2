"""Speed of the tensor world beside the NumPy world; `pytest -m benchmark -s` on it prints the table.

Both worlds take random actions with five robots and four obstacles, resets included.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from scripts.measuring.worlds import OBSTACLES, ROBOTS, SHORT_EPISODE, new_world, rate_of


def numpy_rate(num_cores: int, seconds: float = 2.0) -> float:
    """Robot-steps per second of `MarineNavEnv3`."""
    env = MarineNavEnv3(seed=0)
    env.num_robots, env.num_cores, env.num_obs = ROBOTS, num_cores, OBSTACLES
    env.reset()
    rng, steps, start = np.random.RandomState(0), 0, time.process_time()
    while time.process_time() - start < seconds:
        steps += sum(not robot.deactivated for robot in env.robots)
        env.step(rng.uniform(-1, 1, (len(env.robots), 2)).tolist())
        for robot in env.robots:
            robot.deactivated = robot.collision or robot.reach_goal
        if env.check_all_deactivated() or env.episode_timesteps > EPISODE_LIMIT:
            env.reset()
    return steps / (time.process_time() - start)


@pytest.mark.benchmark
@pytest.mark.parametrize("num_cores", [0, 8])
def test_cost_is_linear_beyond_saturation(num_cores: int) -> None:
    """Four times the environments take no more than five and a half times as long."""
    small, large = (rate_of(new_world(envs, num_cores), 3.0) for envs in (1024, 4096))
    assert large > small * 4 / 5.5


@pytest.mark.benchmark
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("num_cores", [0, 8])
def test_table(device: str, num_cores: int) -> None:
    """Eager and compiled; the rate of the NumPy world is measured just before."""
    reference = numpy_rate(num_cores)
    print(f"\n{torch.__version__}, {torch.get_num_threads()} thread(s), {device}, {num_cores} cores")
    print("| step | E | robot-steps/s | 55-step episodes | x NumPy |\n|---|---|---|---|---|")
    rates = {}
    for compiled in (False, True):
        for num_envs in (1, 16, 64, 256, 1024, 4096):
            world = new_world(num_envs, num_cores, device=device, compile=compiled)
            rate, short = rate_of(world), rate_of(world, longest=SHORT_EPISODE)
            rates[compiled, num_envs] = rate
            kind = "compiled" if compiled else "eager"
            print(f"| {kind} | {num_envs} | {rate:,.0f} | {short:,.0f} | {rate / reference:,.1f} |")
    assert rates[False, 4096] > 20 * reference
    assert rates[True, 4096] > rates[False, 4096]


@pytest.mark.benchmark
@pytest.mark.parametrize("num_cores", [0, 8])
def test_scenarios(benchmark: Callable, num_cores: int) -> None:
    """Drawing 1024 beginnings of episodes, first observation included."""
    world = new_world(512, num_cores)

    def draw() -> None:
        world.seed(0)
        world.reset()

    benchmark(draw)
