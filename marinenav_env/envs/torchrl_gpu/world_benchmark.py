"""Robot-steps per second of the tensor world beside the NumPy world, measured in one run.

A robot-step is one step of one robot that is in the water; slots of absent and finished robots do not count.
Times are processor time of this process, so that other people's load matters less; with more than one thread,
and on a GPU, wall time.
Both worlds take random actions with five robots and four obstacles, resets included.
"""

import resource
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch

from marinenav_env.envs.reference.world import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.ops.noise import draw_noise
from marinenav_env.envs.torchrl_gpu.ops.sensor import perceive
from marinenav_env.envs.torchrl_gpu.ops.vessel import advance
from marinenav_env.envs.torchrl_gpu.step import current_field
from marinenav_env.envs.torchrl_gpu.world import Stage, VectorWorld

ROBOTS, OBSTACLES = 5, 4
SHORT_EPISODE = 55  # steps; random actions make long episodes, which hides the cost of resets


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        device: of the world.
        compiled: whether the step was.
        num_envs: E.
        num_cores: vortices C.
        rate: robot-steps per second.
        short: the same with every episode ended after 55 steps.
        ratio: `rate` over the rate of `MarineNavEnv3` measured just before and after.
        dynamics: share of the motion in the time of a step with resets, measured eagerly; else NaN.
        perception: share of noise and perception, likewise.
        reset: share of the resets.
        memory: greatest memory of the process so far, or on the GPU (MiB).
    """

    device: str
    compiled: bool
    num_envs: int
    num_cores: int
    rate: float
    short: float
    ratio: float
    dynamics: float
    perception: float
    reset: float
    memory: float


def measure(
    num_envs: Iterable[int] = (1, 16, 64, 256, 1024, 4096),
    num_cores: Iterable[int] = (0, 8),
    *,
    compiled: Iterable[bool] = (False, True),
    device: str = "cpu",
    seconds: float = 2.0,
) -> list[Row]:
    """Measure all combinations, about `seconds` each after warming up; compiling takes a minute each."""
    cases = [(mode, cores, envs) for mode in compiled for cores in num_cores for envs in num_envs]
    return [
        measure_one(envs, cores, compiled=mode, device=device, seconds=seconds) for mode, cores, envs in cases
    ]


def measure_one(
    num_envs: int, num_cores: int, *, compiled: bool = False, device: str = "cpu", seconds: float = 2.0
) -> Row:
    """Measure one combination."""
    world = VectorWorld(num_envs, ROBOTS, num_cores, OBSTACLES, device=device, compile=compiled)
    world.set_scenario(Stage(ROBOTS, num_cores, OBSTACLES, 30.0))
    world.reset()
    generator = torch.Generator(world.device).manual_seed(0)
    shape = (8, 2, ROBOTS, num_envs)
    actions = torch.rand(shape, generator=generator, device=world.device) * 2 - 1
    for action in actions:
        world.step_and_reset(action)

    def walk(step: Callable) -> tuple[float, float]:
        return _time(lambda k: step(actions[k % len(actions)]), seconds / 3, device)

    before = numpy_rate(num_cores, seconds / 6)
    whole = walk(world.step_and_reset)
    acting = world.state.active.float().sum().item()
    alone = walk(world.step)
    after = numpy_rate(num_cores, seconds / 6)
    rate = acting / whole
    short = _short_rate(world, actions, seconds / 3)
    return Row(
        device,
        compiled,
        num_envs,
        num_cores,
        rate,
        short,
        2 * rate / (before + after),
        *(
            (float("nan"),) * 2
            if compiled
            else (part / whole for part in _parts(world, actions[0], seconds / 6))
        ),
        max(0.0, 1 - alone / whole),
        _memory(device),
    )


def _short_rate(world: VectorWorld, actions: torch.Tensor, seconds: float) -> float:
    """Robot-steps per second with episodes of `SHORT_EPISODE` steps, in turn."""
    phase = torch.arange(world.num_envs, device=world.device) % SHORT_EPISODE
    due = [phase == k for k in range(SHORT_EPISODE)]
    acting = []

    def advance_and_begin(k: int) -> None:
        acting.append(world.state.active.float().sum())
        world.step(actions[k % len(actions)])
        world.reset(due[k % SHORT_EPISODE])

    for k in range(SHORT_EPISODE):  # until episodes of all ages are under way
        advance_and_begin(k)
    acting.clear()
    call = _time(advance_and_begin, seconds, world.device.type)
    return torch.stack(acting).mean().item() / call


def numpy_rate(num_cores: int, seconds: float) -> float:
    """Robot-steps per second of `MarineNavEnv3`, resets included."""
    env = MarineNavEnv3(seed=0)
    env.num_robots, env.num_cores, env.num_obs = ROBOTS, num_cores, OBSTACLES
    env.reset()
    rng, steps, start = np.random.RandomState(0), 0, time.process_time()
    while time.process_time() - start < seconds:
        steps += sum(not robot.deactivated for robot in env.robots)
        env.step(rng.uniform(-1, 1, (len(env.robots), 2)).tolist())
        for robot in env.robots:
            robot.deactivated = robot.collision or robot.reach_goal
        if env.check_all_deactivated() or env.episode_timesteps > 1000:
            env.reset()
    return steps / (time.process_time() - start)


def table(rows: Iterable[Row]) -> str:
    """Markdown table of the measurements."""
    columns = "device, step, E, C, robot-steps/s, short episodes, x NumPy, dynamics, perception, reset, MiB"
    head = "| " + " | ".join(columns.split(", ")) + " |"
    lines = [head, "|" + "---|" * 11]
    for row in rows:
        shares = " | ".join("" if np.isnan(share) else f"{share:.0%}" for share in row[7:10])
        kind = "compiled" if row.compiled else "eager"
        numbers = f"{row.num_envs} | {row.num_cores} | {row.rate:,.0f} | {row.short:,.0f} | {row.ratio:,.1f}"
        lines.append(f"| {row.device} | {kind} | {numbers} | {shares} | {row.memory:,.0f} |")
    return "\n".join(lines)


def _parts(world: VectorWorld, action: torch.Tensor, seconds: float) -> tuple[float, float]:
    """Eager time of the motion, and of noise and perception."""
    robot, limits = world.params.of_robots(), world.params.of_map()
    state, device = world.state, world.device.type
    sizes = (OBSTACLES, ROBOTS, world.num_envs)

    def move(_: int) -> None:
        advance(
            state.motion, (action[0], action[1]), current_field(state.scenario, limits.r), robot, (10, 10)
        )

    def look(_: int) -> None:
        perceive(state, robot, draw_noise(world._keys.next(), sizes, world._radii, world.dtype))

    return _time(move, seconds, device), _time(look, seconds, device)


def _time(call: Callable[[int], object], seconds: float, device: str) -> float:
    """Time of one call, at least three of them; see the top."""
    _wait(device)
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    calls, start = 0, clock()
    while calls < 3 or clock() - start < seconds:
        call(calls)
        calls += 1
        _wait(device)
    return (clock() - start) / calls


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _memory(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
