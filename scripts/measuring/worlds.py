"""How many robots the tensor world steps in a second.

A robot-step is one step of one robot that is in the water; slots of absent and finished robots do not count.
Times are processor time of this process, so that other people's load matters less; on a GPU wall time. Robots
act at random, five of them among four obstacles, resets included.
"""

import time
from typing import Any

import torch

from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.stage import Stage
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

ROBOTS, OBSTACLES = 5, 4
SHORT_EPISODE = 55  # steps; random actions make long episodes, which hides the cost of resets
WARM_UP = 12  # steps, in which it compiles
AT_ONCE = 8
"""Steps between two looks at the clock, for which the host waits for a GPU."""


def new_world(num_envs: int, num_cores: int = 0, **options: Any) -> VectorWorld:
    """A world of so many environments with their first episodes; options are those of `VectorWorld`."""
    world = VectorWorld(num_envs, ROBOTS, num_cores, OBSTACLES, **options)
    world.stage = Stage(ROBOTS, num_cores, OBSTACLES, 30.0)
    world.reset()
    return world


def rate_of(world: VectorWorld, seconds: float = 2.0, longest: int = EPISODE_LIMIT) -> float:
    """Robot-steps per second with random actions; episodes end after ``longest`` steps at most."""
    generator = torch.Generator(world.device).manual_seed(0)
    shape = (AT_ONCE, 2, ROBOTS, world.num_envs)
    actions = torch.rand(shape, generator=generator, device=world.device) * 2 - 1
    ages = torch.arange(world.num_envs, device=world.device) % longest
    world.state.timesteps.copy_(ages)  # so that cut-offs do not fall together
    on_cpu = world.device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    steps = torch.zeros((), dtype=torch.int64, device=world.device)
    done, start = -WARM_UP, 0.0
    while True:
        if done == 0:
            steps.zero_()
            steps.item()  # waits for the warm-up
            start = clock()
        steps += world.state.active.sum()
        result = world.advance(actions[done % AT_ONCE])
        ended = result.done.bool() | (world.state.timesteps >= longest)
        if not on_cpu or ended.any():
            world.begin(ended)
        done += 1
        if done > 0 and (on_cpu or done % AT_ONCE == 0):
            made = steps.item()
            if clock() - start > seconds:
                return made / (clock() - start)
