"""The legacy evaluation: fixed episodes, one after another, on the reference world (training spec 3 and 5).

Both pipelines use it in reproduction mode. Acting draws from the same global generators as training
(Defect T7), and SAC and IQN act stochastically (Defect T6): both are needed for the legacy numbers.
"""

from typing import Any

import numpy as np

from agents.settings import Section, Seed, key
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.outcome import STATE_OF_OUTCOME, Outcome
from marinenav_env.envs.contract.stage import COLUMNS, Stage, stages_of
from marinenav_env.envs.reference.robot import deactivate_finished
from torchrl_gpu.evaluation.metrics import EpisodeResult, report
from torchrl_gpu.seeding import EVAL_SEED
from torchrl_gpu.stages import EvalSchedule


class EpisodeSettings(Section):
    """Which episodes are evaluated."""

    eval_schedule: EvalSchedule = key(..., "evaluation episodes: equally long lists, see below")
    eval_seed: Seed = key(
        EVAL_SEED,
        "seed of the evaluation episodes; another one keeps reported episodes out of the choice of a model",
        throughput=True,
    )


def create_eval_configs(env: Any, eval_schedule: dict[str, list]) -> list[dict]:
    """Draw the evaluation episodes of a schedule, in its order, from the evaluation world's own generator.

    The world, a ``MarineNavEnv3`` with ``is_eval_env`` set, keeps the values of the last stage that has an
    episode, and its ``num_robots`` enters the sensor seeds of every later evaluation episode (Quirk W26). The
    schedule has the columns ``num_episodes, num_robots, num_cores, num_obstacles, min_start_goal_dis``.
    """
    configs = []
    numbers = eval_schedule["num_episodes"]
    for index, (stage, number) in enumerate(zip(stages_of(eval_schedule), numbers, strict=True)):
        drawn = [_draw_episode(env, stage) for _ in range(number)]
        _tell_what_found_no_room(index, stage, [placed for _, placed in drawn])
        configs += [episode for episode, _ in drawn]
    return configs


def _draw_episode(env: Any, stage: Stage) -> tuple[dict, Stage]:
    env.stage = stage
    env.reset()
    episode, placed = env.episode_data(), env.placed
    episode["env"]["num_robots"] = placed.num_robots  # not what was asked for: it is to be loaded again
    return episode, placed


def _tell_what_found_no_room(index: int, stage: Stage, placed: list[Stage]) -> None:
    for name, asked, found in zip(COLUMNS, stage, zip(*placed, strict=True), strict=False):
        if min(found) < asked:
            print(f"Evaluation stage {index}: {name} is {asked}; {min(found)} to {max(found)} found room")


def evaluate_episode(env: Any, agent: Any, episode: dict) -> EpisodeResult:
    """Play one episode (environment spec 13) until a collision, the arrival of all, or the step limit.

    The agent has ``act(observation)``, ``continuous`` and ``GAMMA``.
    """
    states, _, _ = env.reset_with_eval_config(episode)
    robots = env.robots
    rewards, times, energies = ([0.0] * len(robots) for _ in range(3))
    length, end = 0, False
    while not end:
        actions = [
            None if robot.deactivated else agent.act(state)
            for robot, state in zip(robots, states, strict=True)
        ]
        states, step_rewards, _, _ = env.step(actions, agent.continuous)
        for i, robot in enumerate(robots):
            if robot.deactivated:
                continue
            rewards[i] += agent.GAMMA**length * step_rewards[i]
            times[i] += robot.dt * robot.N
            energies[i] += robot.compute_step_energy_cost()
            deactivate_finished(robot)
        # Defect T4: an episode may have 1001 steps.
        stopped = env.check_any_collision() or env.check_all_deactivated()
        end = stopped or length >= EPISODE_LIMIT
        length += 1
    # The next reset replaces the robots, so their histories can be kept without a copy.
    return EpisodeResult(
        reward=np.mean(rewards),
        success=bool(env.check_all_reach_goal()),
        time=np.mean(times),
        energy=np.mean(energies),
        observations=[robot.observation_history for robot in robots],
        actions=[robot.action_history for robot in robots],
        trajectories=[robot.trajectory for robot in robots],
        outcomes=[_outcome(robot, stopped) for robot in robots],
    )


def _outcome(robot: Any, stopped: bool) -> str:
    if robot.collision:
        return STATE_OF_OUTCOME[Outcome.COLLISION]
    if robot.reach_goal:
        return STATE_OF_OUTCOME[Outcome.REACH_GOAL]
    return STATE_OF_OUTCOME[Outcome.NORMAL if stopped else Outcome.TOO_LONG_EPISODE]


def evaluate(env: Any, agent: Any, episodes: list[dict], verbose: bool = True) -> list[EpisodeResult]:
    """Play every episode in order; with ``verbose``, print one line per episode and a report."""
    results = []
    for idx, episode in enumerate(episodes):
        if verbose:
            print(f"Evaluating episode {idx}")
        results.append(evaluate_episode(env, agent, episode))
    if verbose:
        print(report(results))
    return results
