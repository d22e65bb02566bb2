"""The reference world: robots act, look and are rewarded, step by step (environment spec 9-13)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import pi
from os import PathLike
from typing import Any

import numpy as np

from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.episode import (
    ENV_KEYS,
    Episode,
    read_constants,
    validate_episode,
    write_episode,
    written_constants,
)
from marinenav_env.envs.contract.rewards import CLOSE, reward_weights
from marinenav_env.envs.contract.stage import Schedule, stage_given
from marinenav_env.envs.reference import episodes
from marinenav_env.envs.reference.current import Core, Current
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.scenario import Obstacle, Scenario
from marinenav_env.envs.reference.streams import set_stream_state, stream_state
from marinenav_env.envs.reference.vessel import Rates

__all__ = ["Core", "MarineNavEnv3", "Obstacle"]

Observation = tuple[list[float] | None, list[list[float]] | None]
Observations = tuple[list[Observation], list[bool], list[bool]]

PARTS = ("rd", "robots", "cores", "obstacles")
"""Attributes of a world with a state of their own."""
GIVEN = ("schedule", "verbose", "core_centers")
"""Attributes that its constructor, its owner, or its cores determine."""


class MarineNavEnv3(Scenario):
    """Multi-robot marine navigation with vortices, obstacles and traffic rules.

    Lists in robot order go in and come out. Quirk W22: the caller deactivates who collided or arrived.

    Args:
        seed: seed of the environment stream `rd`.
        schedule: curriculum of equally long lists `timesteps`, `num_robots`, `num_cores`, `num_obstacles`,
            `min_start_goal_dis`; or None. Its stage is printed at every reset unless `verbose` is False.
        is_eval_env: whether to keep observation, action and trajectory histories.
        num_robots: robots that a scenario asks for; this and the next three without a schedule only, by
            default as in `Stage`, and with the same episodes as if set afterwards.
        num_cores: vortex cores.
        num_obs: static obstacles.
        min_start_goal_dis: least distance from start to goal (m).
        **rewards: weights of the terms of the reward, by the names in `contract.rewards.REWARDS`.

    Raises:
        TypeError: an argument of another name.
        ValueError: an argument out of its range, or one that the schedule decides.
    """

    def __init__(
        self,
        seed: int = 0,
        schedule: Schedule | None = None,
        is_eval_env: bool = False,
        *,
        num_robots: int | None = None,
        num_cores: int | None = None,
        num_obs: int | None = None,
        min_start_goal_dis: float | None = None,
        **rewards: float,
    ) -> None:
        super().__init__(seed, schedule)
        self.stage = stage_given(schedule, num_robots, num_cores, num_obs, min_start_goal_dis)
        vars(self).update(reward_weights(rewards))  # timestep_penalty, COLREGs_penalty, ...
        self.is_eval_env = is_eval_env
        self.episode_timesteps = 0
        self.observation_in_robot_frame = True

        # Without effect, kept for callers and episode files.
        self.angular_speed_max = pi / 2
        self.angular_speed_penalty = -1.0
        self.steering_reward_angle_max = pi / 3
        self.steering_reward_speed_min = 1.0
        self.steering_reward = 0.5

    def get_action_space_dimension(self) -> int:
        """Number of discrete actions of a robot; IndexError with no robots."""
        return self.robots[0].compute_actions_dimension()

    # ---- resets -----------------------------------------------------------------------------------------

    def reset(self) -> Observations:
        """Generate the next episode of the random stream (environment spec 4).

        Returns:
            Observations, collision flags and goal flags, one per robot.

        Raises:
            AssertionError: the schedule asks for no robot.
            ValueError: `num_robots` is 0 without a schedule.
        """
        if self.schedule is not None:
            self._enter_stage(self.schedule)
        self.episode_timesteps = 0
        self.generate()
        return self.get_observations()

    def reset_with_eval_config(self, eval_config: Mapping[str, Mapping[str, Any]]) -> Observations:
        """Set up the scenario of an episode dictionary; its histories are ignored (environment spec 13.2).

        Quirk W25: here the first velocity includes the current. Quirk W26: perception seeds are the first
        draws of the re-seeded `rd`, bounded by five times the present attribute `num_robots`.

        Args:
            eval_config: as `episode_data` gives it, fresh or from JSON.

        Returns:
            As `reset`.

        Raises:
            KeyError: a key is missing.
            IndexError: a list is shorter than the scenario needs.
            ValueError: a value is out of its range.
        """
        validate_episode(eval_config)
        self.episode_timesteps = 0
        self._load(eval_config["env"], eval_config["robots"])
        return self.get_observations()

    def _load(self, env: Mapping[str, Any], robots: Mapping[str, Any]) -> None:
        vars(self).update(deepcopy(read_constants(env)))
        self.rd = np.random.RandomState(self.seed)
        self.cores[:] = episodes.read_cores(env["cores"])
        self.index_cores()
        self.obstacles[:] = episodes.read_obstacles(env["obstacles"])
        self.robots.clear()
        for i in range(env["num_robots"]):
            robot = self.draw_robot()
            episodes.read_robot(robot, robots, i)
            robot.reset_state(self.get_velocity(*robot.start))
            self.robots.append(robot)

    def episode_data(self) -> Episode:
        """Episode dictionary of the present scenario and its histories, as copies (environment spec 13.1).

        Quirk W27: `num_robots` is the attribute, whatever the number of robots.
        """
        env = deepcopy(written_constants({key: getattr(self, key) for key in ENV_KEYS}))
        env["num_robots"] = self.num_robots
        env["cores"] = episodes.write_cores(self.cores)
        env["obstacles"] = episodes.write_obstacles(self.obstacles)
        return {"env": env, "robots": episodes.write_robots(self.robots)}

    def save_episode(self, filename: str | PathLike[str]) -> None:
        """Write the episode dictionary as JSON; the file appears complete or not at all.

        Raises:
            TypeError: Quirk W24, the action history holds NumPy values.
        """
        write_episode(self.episode_data(), filename)

    # ---- state ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where everybody is now and where every random stream stands, as plain data, not copied."""
        own = {name: value for name, value in vars(self).items() if name not in (*PARTS, *GIVEN)}
        return {
            "attributes": own,
            "rd": stream_state(self.rd),
            "robots": [robot.state_dict() for robot in self.robots],
            "cores": [vars(core) for core in self.cores],
            "obstacles": [vars(obstacle) for obstacle in self.obstacles],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` of a world of the same construction, which this one then writes into.

        Raises:
            KeyError: a part of it is missing.
        """
        vars(self).update(state["attributes"])
        set_stream_state(self.rd, state["rd"])
        self.robots[:] = [Robot() for _ in state["robots"]]
        for robot, each in zip(self.robots, state["robots"], strict=True):
            robot.load_state_dict(each)
        self.cores[:] = [Core(**each) for each in state["cores"]]
        self.obstacles[:] = [Obstacle(**each) for each in state["obstacles"]]
        self.index_cores()

    # ---- a step -----------------------------------------------------------------------------------------

    def step(
        self, actions: Sequence[Any], is_continuous_action: bool = True
    ) -> tuple[list[Observation], list[float], list[bool], list[dict[str, str]]]:
        """Advance all active robots by 0.5 s and look around (environment spec 10).

        Args:
            actions: one per robot: two commands in [-1, 1], or an index in 0..24; ignored if deactivated.
            is_continuous_action: how to read `actions`.

        Returns:
            Observations, rewards (Quirk W21: int 0 for deactivated robots), dones and infos `{"state": ...}`.

        Raises:
            AssertionError: the number of actions is not that of the robots, or all robots have arrived.
            RuntimeError: a robot was deactivated without collision or arrival.
            TypeError, IndexError, ValueError: an action is none of its kind; nobody has moved then.
        """
        if len(actions) != len(self.robots):
            raise AssertionError("Number of actions not equal number of robots!")
        if self.check_all_reach_goal():
            raise AssertionError("All robots reach goals, not actions are available!")
        rates = self._thrust_rates(actions, is_continuous_action)
        current = self._current()
        rewards = [
            0 if robot.deactivated else self._move(robot, action, asked, current)
            for robot, action, asked in zip(self.robots, actions, rates, strict=True)
        ]
        observations, _, _ = self.get_observations()
        dones, infos = [], []
        for i, robot in enumerate(self.robots):
            bonus, done, state = self._outcome(robot)
            if not robot.deactivated:
                rewards[i] = rewards[i] + self.compute_COLREGs_penalty(robot) + bonus
                if self.closeness_penalty:
                    rewards[i] += self.closeness_penalty * self._closeness(robot, observations[i][1])
            dones.append(done)
            infos.append({"state": state})
        self.episode_timesteps += 1
        self.total_timesteps += 1
        return observations, rewards, dones, infos

    def _thrust_rates(self, actions: Sequence[Any], is_continuous_action: bool) -> list[Rates | None]:
        """Thrust rates asked for; None of the deactivated robots, whose actions are not read."""
        rates: list[Rates | None] = []
        for i, (robot, action) in enumerate(zip(self.robots, actions, strict=True)):
            try:
                rates.append(None if robot.deactivated else robot.thrust_rates(action, is_continuous_action))
            except (TypeError, IndexError, ValueError) as error:
                raise type(error)(f"robot {i}: {error}") from error
        return rates

    def _move(self, robot: Robot, action: Any, rates: Rates, current: Current) -> float:
        """Execute one robot's action; reward for time, progress and a change of thrust."""
        before, left, right = robot.dist_to_goal(), robot.left_thrust, robot.right_thrust
        robot.move(rates, current)
        change = abs(robot.left_thrust - left) + abs(robot.right_thrust - right)
        if self.is_eval_env:
            robot.action_history.append(action)
            robot.record_trajectory()
        reward = self.timestep_penalty + (before - robot.dist_to_goal())
        return reward + self.thrust_change_penalty * change / 1000

    def _outcome(self, robot: Robot) -> tuple[float, bool, str]:
        if robot.deactivated:
            if robot.collision:
                return 0.0, True, "deactivated after collision"
            if robot.reach_goal:
                return 0.0, True, "deactivated after reaching goal"
            raise RuntimeError("Robot being deactived can only be caused by collsion or reaching goal!")
        if self.episode_timesteps >= EPISODE_LIMIT:  # Quirk W23: no event reward any more
            return 0.0, True, "too long episode"
        if robot.collision:
            return self.collision_penalty, True, "collision"
        if robot.reach_goal:
            return self.goal_reward, True, "reach goal"
        return 0.0, False, "normal"

    def get_observations(self) -> Observations:
        """Let every robot look around: consumes sensor noise and, in evaluation mode, grows the histories.

        Returns:
            Observations `(self state, objects)` or `(None, None)`, collision flags and goal flags.
        """
        observations, collisions, reach_goals = [], [], []
        for robot in self.robots:
            observation, collision, reach_goal = robot.perception_output(
                self.obstacles, self.robots, self.observation_in_robot_frame
            )
            if self.is_eval_env:
                robot.observation_history.append(list(observation))
            observations.append(observation)
            collisions.append(collision)
            reach_goals.append(reach_goal)
        return observations, collisions, reach_goals

    def compute_COLREGs_penalty(self, rob: Robot) -> float:
        """Penalty for the starboard turn that the traffic rules still ask of a robot, or 0."""
        return self.COLREGs_penalty * rob.phi if rob.apply_COLREGs else 0.0

    def _closeness(self, robot: Robot, seen: list[list[float]]) -> float:
        """From 0, `CLOSE` metres or more to the nearest object in sight, to 1, touching it."""
        if not seen:
            return 0.0
        x, y, _, _, radius = seen[0]
        gap = robot.compute_distance(x, y, radius, self.observation_in_robot_frame)
        return min(max(1 - gap / CLOSE, 0.0), 1.0)

    def check_all_deactivated(self) -> bool:
        """Whether no robot is left in the water."""
        return all(robot.deactivated for robot in self.robots)

    def check_all_reach_goal(self) -> bool:
        """Whether all robots have arrived."""
        return all(robot.reach_goal for robot in self.robots)

    def check_any_collision(self) -> bool:
        """Whether any robot, deactivated ones included, has collided."""
        return any(robot.collision for robot in self.robots)

    def out_of_boundary(self) -> bool:
        """Quirk W1: unusable, the map has no boundary.

        Raises:
            AttributeError: always.
        """
        raise AttributeError("out_of_boundary: neither the environment nor its map has a boundary (Quirk W1)")
