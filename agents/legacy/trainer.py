"""The legacy trainer: one environment, one agent, the legacy order of draws (training spec 3 and 4)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.legacy.agent import LegacyAgent
from marinenav_env.envs.contract.constants import EPISODE_LIMIT
from marinenav_env.envs.contract.episode import write_episode
from marinenav_env.envs.reference.robot import deactivate_finished


class Collaborators(NamedTuple):
    """What the trainer shares with the other pipeline, and is handed: how runs are scheduled and judged."""

    schedule: Callable[..., Any]  # of a run
    draw_episodes: Callable[[Any, dict[str, list]], list[dict]]  # of a schedule, from a world
    evaluate: Callable[[Any, Any, list[dict]], list]  # plays episodes with an agent in a world
    record: Callable[[], Any]  # an empty one, of evaluations
    report: Callable[..., str]  # text about a training episode


@dataclass
class Episode:
    """Bookkeeping of the training episode under way."""

    states: list  # observation pair of every robot, before the next step
    rewards: list[float]  # discounted return of every robot so far
    ended_at: list[int]  # step index at which a robot was taken out of the water, -1 while it is in
    length: int = 0  # index of the next step


class Trainer:
    """Trains an agent on a ``MarineNavEnv3``, as the legacy pipeline did.

    Args:
        train_env: Training world, with its curriculum.
        eval_env: Evaluation world; the evaluation episodes are drawn from it here, by ``eval_schedule``.
        UPDATE_EVERY: Timesteps between two gradient updates.
        learning_starts: First timestep that may learn; 0 with imitation.
        target_update_interval: Timesteps between two target copies.
        exploration_fraction: Part of the run over which epsilon falls from ``initial_eps`` to ``final_eps``.
        imitation: Act with ``il_agent`` instead of the learner ``rl_agent``.
        shared: What both pipelines have.

    Attributes:
        eval_config: The evaluation episodes, a list of episode dictionaries.
        current_timestep: Index of the timestep under way.
        learning_timestep: Unused; legacy readers look for it.
        record: All evaluations so far; its lists are also ``eval_timesteps``, ``eval_rewards``, and so on.

    Raises:
        AssertionError: ``imitation`` without an ``il_agent``, after the evaluation episodes were drawn.
    """

    def __init__(
        self,
        train_env: Any,
        eval_env: Any,
        eval_schedule: dict[str, list],
        rl_agent: LegacyAgent,
        UPDATE_EVERY: int = 4,
        learning_starts: int = 2000,
        target_update_interval: int = 10_000,
        exploration_fraction: float = 0.25,
        initial_eps: float = 0.6,
        final_eps: float = 0.05,
        imitation: bool = False,
        il_agent: Any = None,
        *,
        shared: Collaborators,
    ) -> None:
        self.train_env = train_env
        self.eval_env = eval_env
        self.eval_schedule = eval_schedule
        self.rl_agent = rl_agent
        self.shared = shared
        self.eval_config = shared.draw_episodes(eval_env, eval_schedule)
        if imitation and il_agent is None:
            raise AssertionError("imitation needs an il_agent")
        self.UPDATE_EVERY = UPDATE_EVERY
        self.learning_starts = 0 if imitation else learning_starts
        self.target_update_interval = target_update_interval
        self.exploration_fraction = exploration_fraction
        self.initial_eps = initial_eps
        self.final_eps = final_eps
        self.imitation = imitation
        self.il_agent = il_agent
        self.current_timestep = 0
        self.learning_timestep = 0
        self.record = shared.record()

    def __getattr__(self, name: str) -> list:
        """Legacy names of the record's lists: ``eval_rewards`` is ``record.rewards``."""
        if name.startswith("eval_") and "record" in self.__dict__:
            return getattr(self.record, name.removeprefix("eval_"))
        raise AttributeError(name)

    def save_eval_config(self, directory: str | Path) -> None:
        """Write the evaluation episodes to ``eval_configs.json`` in an existing folder."""
        write_episode(self.eval_config, Path(directory) / "eval_configs.json")

    def learn(
        self,
        total_timesteps: int,
        eval_freq: int,
        eval_log_path: str | Path,
        verbose: bool = True,
        between_steps: Callable[[], None] = lambda: None,
    ) -> None:
        """Run the loop up to and including timestep ``total_timesteps``, at least 1 (Defects T3, T20).

        ``eval_freq`` is the timesteps between two evaluations, ``eval_log_path`` an existing folder for
        ``evaluations.npz`` and the latest model; what ``between_steps``, called after every timestep, raises
        ends the loop there.
        """
        schedule = self._schedule(total_timesteps, eval_freq)
        episodes = 0
        episode = self._new_episode()
        while self.current_timestep <= total_timesteps:
            t = self.current_timestep
            eps = schedule.epsilon(t)
            infos = self._step(episode, eps)
            if self.rl_agent.training:
                self._learn(schedule, t)
            if schedule.evaluation_due(t):
                self._evaluate_and_save(Path(eval_log_path))
            if episode.length >= EPISODE_LIMIT or self.train_env.check_all_deactivated():
                episodes += 1
                if verbose:
                    print(self._episode_report(episode, infos, episodes, eps, total_timesteps))
                episode = self._new_episode()
            else:
                episode.length += 1
            self.current_timestep += 1
            between_steps()

    def _schedule(self, total_timesteps: int, eval_freq: int) -> Any:
        given = {
            "total_timesteps": total_timesteps,
            "eval_freq": eval_freq,
            "update_every": self.UPDATE_EVERY,
            "learning_starts": self.learning_starts,
            "target_update_interval": self.target_update_interval,
            "exploration_fraction": self.exploration_fraction,
            "initial_eps": self.initial_eps,
            "final_eps": self.final_eps,
        }
        numpy = {name: number.item() for name, number in given.items() if isinstance(number, np.generic)}
        return self.shared.schedule(**given | numpy)

    def _new_episode(self) -> Episode:
        states, _, _ = self.train_env.reset()
        return Episode(states, [0.0] * len(states), [-1] * len(states))

    def _act(self, state: Any, eps: float) -> Any:
        if self.imitation:
            return self.il_agent.act(state)
        return self.rl_agent.act(state, eps, use_eval=False)

    def _step(self, episode: Episode, eps: float) -> list[dict]:
        """One timestep: every robot acts, the world steps, every robot that acted is stored."""
        agent, robots = self.rl_agent, self.train_env.robots
        actions = [
            None if robot.deactivated else self._act(state, eps)
            for robot, state in zip(robots, episode.states, strict=True)
        ]
        next_states, rewards, dones, infos = self.train_env.step(actions, agent.continuous)
        for i, robot in enumerate(robots):
            if robot.deactivated:
                continue
            episode.rewards[i] += agent.GAMMA**episode.length * rewards[i]
            if agent.training:
                # Defect T5: a robot cut off by the episode limit is stored as done, never bootstrapped.
                agent.store(episode.states[i], actions[i], rewards[i], next_states[i], dones[i])
            if deactivate_finished(robot):
                episode.ended_at[i] = episode.length
        episode.states = next_states
        return infos

    def _learn(self, schedule: Any, t: int) -> None:
        """The gradient update and the target copy of timestep ``t``, where due."""
        agent = self.rl_agent
        if schedule.update_due(t) and agent.stored > agent.BATCH_SIZE:
            agent.train()
        if schedule.target_copy_due(t):
            agent.soft_update()

    def evaluation(self) -> None:
        """Play the evaluation episodes, report, and add the results to ``record``."""
        results = self.shared.evaluate(self.eval_env, self.rl_agent, self.eval_config)
        self.record.append(self.current_timestep, results)

    def _evaluate_and_save(self, directory: Path) -> None:
        """Evaluate, rewrite ``evaluations.npz``, then overwrite the latest model."""
        self.evaluation()
        self.record.save(directory)
        if self.rl_agent.training:
            self.rl_agent.save_latest_model(str(directory))

    def _episode_report(
        self, episode: Episode, infos: list[dict], number: int, eps: float, total_timesteps: int
    ) -> str:
        return self.shared.report(
            number=number,
            length=episode.length,
            returns=episode.rewards,
            states=[info["state"] for info in infos],
            ended_at=episode.ended_at,
            eps=None if self.imitation else eps,
            timestep=self.current_timestep,
            total_timesteps=total_timesteps,
        )
