"""The reference world: robots act, look and are rewarded, step by step (environment spec 9-13)."""

from collections.abc import Mapping, Sequence
from math import pi
from os import PathLike
from typing import Any

from marinenav_env.envs.contract import episode
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.rewards import DEFAULT_REWARDS
from marinenav_env.envs.contract.stage import Schedule
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.reference.scenario import Core, Obstacle, Scenario
from marinenav_env.envs.reference.vessel import Current

__all__ = ["Core", "MarineNavEnv3", "Obstacle"]

Observation = tuple[list[float] | None, list[list[float]] | None]
Observations = tuple[list[Observation], list[bool], list[bool]]


class MarineNavEnv3(Scenario):
    """Multi-robot marine navigation with vortices, obstacles and traffic rules.

    Lists in robot order go in and come out. Quirk W22: the caller deactivates who collided or arrived.

    Args:
        seed: seed of the environment stream `rd`.
        schedule: curriculum of equally long lists `timesteps`, `num_robots`, `num_cores`, `num_obstacles`,
            `min_start_goal_dis`; or None. Its stage is printed at every reset unless `verbose` is False.
        is_eval_env: whether to keep observation, action and trajectory histories.
    """

    def __init__(
        self,
        seed: int = 0,
        schedule: Schedule | None = None,
        is_eval_env: bool = False,
    ) -> None:
        super().__init__(seed, schedule)
        self.is_eval_env = is_eval_env
        self.episode_timesteps = 0
        self.observation_in_robot_frame = True

        vars(self).update(DEFAULT_REWARDS)  # timestep_penalty, COLREGs_penalty, ...

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
        self._generate()
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
        episode.validate_episode(eval_config)
        self.episode_timesteps = 0
        episode.load_episode(self, eval_config)
        return self.get_observations()

    def episode_data(self) -> episode.Episode:
        """Episode dictionary of the present scenario and its histories (environment spec 13.1)."""
        return episode.episode_data(self)

    def save_episode(self, filename: str | PathLike[str]) -> None:
        """Write the episode dictionary as JSON; the file appears complete or not at all.

        Raises:
            TypeError: Quirk W24, the action history holds NumPy values.
        """
        episode.write_episode(self.episode_data(), filename)

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
        """
        if len(actions) != len(self.robots):
            raise AssertionError("Number of actions not equal number of robots!")
        if self.check_all_reach_goal():
            raise AssertionError("All robots reach goals, not actions are available!")
        current = self._current()
        rewards = [
            0 if robot.deactivated else self._move(robot, action, current, is_continuous_action)
            for robot, action in zip(self.robots, actions, strict=True)
        ]
        observations, _, _ = self.get_observations()
        dones, infos = [], []
        for i, robot in enumerate(self.robots):
            bonus, done, state = self._outcome(robot)
            if not robot.deactivated:
                rewards[i] = rewards[i] + self.compute_COLREGs_penalty(robot) + bonus
            dones.append(done)
            infos.append({"state": state})
        self.episode_timesteps += 1
        self.total_timesteps += 1
        return observations, rewards, dones, infos

    def _move(self, robot: Robot, action: Any, current: Current, is_continuous_action: bool) -> float:
        """Execute one robot's action; reward for time and progress."""
        before = robot.dist_to_goal()
        robot.execute(action, current, is_continuous_action)
        if self.is_eval_env:
            robot.action_history.append(action)
            robot.record_trajectory()
        return self.timestep_penalty + (before - robot.dist_to_goal())

    def _outcome(self, robot: Robot) -> tuple[float, bool, str]:
        """Reward of the event, done and info of a robot after it moved."""
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
