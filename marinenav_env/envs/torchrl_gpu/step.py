"""One step of E worlds as a pure function of (state, constants, action, noise) (environment spec 10)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.contract.rewards import CLOSE
from marinenav_env.envs.torchrl_gpu.ops.current import current_field
from marinenav_env.envs.torchrl_gpu.ops.noise import Noise, Radii, draw_noise
from marinenav_env.envs.torchrl_gpu.ops.sensor import Perception, perceive
from marinenav_env.envs.torchrl_gpu.ops.vessel import advance, is_no_action, thrust_rates
from marinenav_env.envs.torchrl_gpu.state import (
    LEFT,
    RIGHT,
    ROBOTS,
    MapParams,
    Observation,
    RobotParams,
    Scenario,
    StepResult,
    WorldParams,
    WorldState,
    X,
    Y,
    begin,
    present,
)


def world_step(
    state: WorldState,
    params: WorldParams,
    action: Tensor,
    noise: Noise,
    *,
    continuous: bool,
    substeps: tuple[int, int],
    terms: Sequence[str],
) -> tuple[WorldState, StepResult]:
    """Move, perceive, reward and deactivate all robots of E environments once; `state` is not changed.

    Robots that collided or arrived leave the water at the end of the step, after everybody has perceived them
    for the last time; in the legacy environment that is the caller's duty (Quirk W22). `action` holds
    commands [2, R, E], or indices [R, E] where not `continuous`, ignored where inactive; `substeps` the least
    and greatest ``N`` of the robots, `terms` those of `LATER_TERMS` that count. Nothing is reset.
    """
    robot, limits = params.of_robots(), params.of_map()
    rates = thrust_rates(action, params.thrust_change, continuous)
    moved = advance(state.motion, rates, current_field(state.scenario.cores, limits.r), robot, substeps)
    before = distance_to_goal(state.motion, state.scenario.goal)
    acting, start = state.active > 0, state.motion
    state = state._replace(motion=torch.where(acting, moved, start))
    progress = before - distance_to_goal(state.motion, state.scenario.goal)

    seen = perceive(state, robot, noise)
    state = state._replace(collision=seen.collision, reach_goal=seen.reach_goal)
    cut_off = state.timesteps >= EPISODE_LIMIT
    reward = step_reward(progress, seen, cut_off, limits)
    for name in terms:
        reward = reward + getattr(limits, name) * LATER_TERMS[name](start, state.motion, seen, robot)
    outcome = outcomes(state, cut_off)
    active = state.active & (1 - (seen.collision | seen.reach_goal))
    result = StepResult(
        observation=seen.observation,
        reward=torch.where(acting, reward, 0.0),
        outcome=outcome,
        done=(cut_off | (active.sum(0) == 0)).int(),
        apply_colregs=seen.apply_colregs,
        phi=seen.phi,
        refused=(acting & is_no_action(action, params.thrust_change, continuous)).int(),
    )
    return state._replace(active=active, outcome=outcome, timesteps=state.timesteps + 1), result


def noisy_step(
    keys: Tensor,
    radii: Radii,
    state: WorldState,
    params: WorldParams,
    action: Tensor,
    *,
    continuous: bool,
    substeps: tuple[int, int],
    terms: Sequence[str],
) -> tuple[Tensor, ...]:
    """Draw the noise and step: what is compiled. Gives plain tensors, see `stepped`."""
    # Versions of torch differ in how compiled functions give named tuples back.
    sizes = (state.scenario.obstacles.shape[1], *state.active.shape)
    noise = draw_noise(keys, sizes, radii, state.motion.dtype)
    options = {"continuous": continuous, "substeps": substeps, "terms": terms}
    new, result = world_step(state, params, action, noise, **options)
    given = result._replace(outcome=None)  # it is in the state; the same tensor twice would take time
    return tuple(leaf for leaf in (*new[1:], *result.observation, *given[1:]) if leaf is not None)


def stepped(scenario: Scenario, leaves: tuple[Tensor, ...]) -> tuple[WorldState, StepResult]:
    """What `world_step` returns, from what `noisy_step` does; the scenario has not changed."""
    state = len(WorldState._fields) - 1
    seen = state + len(Observation._fields)
    new, (reward, *rest) = WorldState(scenario, *leaves[:state]), leaves[seen:]
    return new, StepResult(Observation(*leaves[state:seen]), reward, new.outcome, *rest)


def world_begin(scenario: Scenario, params: WorldParams, noise: Noise) -> tuple[WorldState, Observation]:
    """State and first observation of new episodes; goal and collision flags are already tested there."""
    state = begin(scenario)
    seen = perceive(state, params.of_robots(), noise)
    return state._replace(collision=seen.collision, reach_goal=seen.reach_goal), seen.observation


def distance_to_goal(motion: Tensor, goal: Tensor) -> Tensor:
    """Distance of every robot to its goal (m), [R, E]."""
    return torch.sqrt((goal[0] - motion[X]) ** 2 + (goal[1] - motion[Y]) ** 2)


def thrust_change(before: Tensor, after: Tensor, seen: Perception, robot: RobotParams) -> Tensor:
    """By how much the two thrusts of every robot have changed (kN), [R, E]."""
    return (after[LEFT : RIGHT + 1] - before[LEFT : RIGHT + 1]).abs().sum(0) / 1000


def closeness(before: Tensor, after: Tensor, seen: Perception, robot: RobotParams) -> Tensor:
    """From 0, `CLOSE` metres or more to the nearest object in sight, to 1, touching it, [R, E]."""
    x, y, _, _, radius = seen.observation.objects_state[0]
    gap = torch.sqrt(x * x + y * y) - radius - robot.r
    return torch.where(seen.observation.num_objects > 0, (1 - gap / CLOSE).clamp(0, 1), 0.0)


LATER_TERMS = {"thrust_change_penalty": thrust_change, "closeness_penalty": closeness}
"""What weights that the legacy world lacks are multiplied with; computed only where one is not 0."""


def step_reward(progress: Tensor, seen: Perception, cut_off: Tensor, limits: MapParams) -> Tensor:
    """Reward of a robot in the water, [R, E], terms in the legacy order (environment spec 10)."""
    # Quirk W23: on the cut-off step neither collision nor arrival counts. A collision outranks an arrival.
    event = torch.where(seen.reach_goal > 0, limits.goal_reward, 0.0)
    event = torch.where(seen.collision > 0, limits.collision_penalty, event)
    colregs = limits.COLREGs_penalty * seen.phi  # 0 where no turn is asked for
    return limits.timestep_penalty + progress + colregs + torch.where(cut_off, 0.0, event)


def outcomes(state: WorldState, cut_off: Tensor) -> Tensor:
    """`Outcome` of every robot, int32 [R, E]; `state` still counts those active who finish with this step."""
    collided, arrived = state.collision > 0, state.reach_goal > 0
    ended = torch.where(arrived, Outcome.REACH_GOAL, Outcome.NORMAL)
    ended = torch.where(collided, Outcome.COLLISION, ended)
    ended = torch.where(cut_off, Outcome.TOO_LONG_EPISODE, ended)
    out = torch.where(collided, Outcome.DEACTIVATED_AFTER_COLLISION, Outcome.DEACTIVATED_AFTER_REACHING_GOAL)
    exists = present(state.scenario.counts[ROBOTS], state.active.shape[0])
    out = torch.where(exists, out, Outcome.ABSENT)
    return torch.where(state.active > 0, ended, out).int()
