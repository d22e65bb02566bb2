"""The TorchRL training loop: collect, store, learn, evaluate, on the legacy schedule."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from tensordict import TensorDictBase
from torchrl._utils import timeit
from torchrl.collectors import Collector
from torchrl.envs.utils import step_mdp

from agents.agent import Agent
from agents.evaluation import EpisodeResult
from agents.evaluation_record import EvaluationRecord
from agents.schedule import Schedule
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from torchrl_gpu.policy_wrapper import PolicyWrapper
from torchrl_gpu.replay import Replay


class StepListener(Protocol):
    """Whoever looks at each vector step: episode reports, statistics, progress."""

    def __call__(self, step: TensorDictBase, timestep: int) -> None:
        """Look at one vector step, ``[E]``, whose first timestep is ``timestep``."""


class TorchRLTrainer:
    """Trains an agent for ``total_timesteps + 1`` timesteps (Defect D3), whatever the number of environments.

    A timestep is one step of one environment; a step of all E environments covers the timesteps
    ``t .. t + E - 1``. Exploration, updates, target copies and evaluations fall on the same timesteps for
    every E; where several fall into one vector step they happen in the order of their timesteps. With E = 1
    and the sequential policy this is the legacy loop, draw for draw (training spec 4).

    Args:
        env: Training environment.
        policy: Acts in it; its ``eps`` follows the schedule.
        replay: Keeps the transitions.
        agent: Learns from them.
        schedule: When what happens.
        evaluate: Plays the evaluation episodes.
        update: One gradient update on a batch.
        raw_networks: Context in which the local networks take raw observations, to be evaluated and saved.
        keep_best: Also keep, in the folder ``best``, the model of the best evaluation so far.
        listeners: Look at every vector step.

    Attributes:
        timestep: First timestep of the next vector step.
        updates: Gradient updates made.
        record: All evaluations so far.
    """

    def __init__(
        self,
        *,
        env: MarineNavTorchRLEnv,
        policy: PolicyWrapper,
        replay: Replay,
        agent: Agent,
        schedule: Schedule,
        evaluate: Callable[[], list[EpisodeResult]],
        update: Callable[[TensorDictBase], TensorDictBase],
        raw_networks: Callable[[], AbstractContextManager] = nullcontext,
        keep_best: bool = False,
        listeners: tuple[StepListener, ...] = (),
    ) -> None:
        self.env = env
        self.policy = policy
        self.replay = replay
        self.agent = agent
        self.schedule = schedule
        self.evaluate = evaluate
        self.update = update
        self.raw_networks = raw_networks
        self.keep_best = keep_best
        self.listeners = listeners
        self.timestep = 0
        self.updates = 0
        self.record = EvaluationRecord()

    @property
    def num_envs(self) -> int:
        """Timesteps of one vector step."""
        return self.env.batch_size[0]

    def learn(self, directory: str | Path) -> None:
        """Run the schedule to its end.

        Args:
            directory: Existing folder for ``evaluations.npz`` and the latest model, rewritten at each
                evaluation.
        """
        steps = self._vector_steps()
        while self.timestep <= self.schedule.total_timesteps:
            self.policy.eps = self.schedule.epsilon(self.timestep)
            with timeit("collect"):
                step = next(steps)
            with timeit("store"):
                self.replay.store(step)
            for listener in self.listeners:
                listener(step, self.timestep)
            self._follow_schedule(Path(directory))
            self.timestep += self.num_envs

    def _follow_schedule(self, directory: Path) -> None:
        """Everything that falls on the timesteps of the vector step just made."""
        stop = min(self.timestep + self.num_envs, self.schedule.total_timesteps + 1)
        for last, updates in self.schedule.spans(self.timestep, stop):
            self._learn(updates)
            if self.schedule.target_copy_due(last):
                self.agent.soft_update()
            if self.schedule.evaluation_due(last):
                self._evaluate_and_save(last, directory)

    def _evaluate_and_save(self, timestep: int, directory: Path) -> None:
        with self.raw_networks(), timeit("evaluate"):
            self.record.append(timestep, self.evaluate())
            self.record.save(directory)
            self.agent.save_latest_model(directory)
            if self.keep_best and self.record.best == len(self.record) - 1:
                (directory / "best").mkdir(exist_ok=True)
                self.agent.save_latest_model(directory / "best")

    def _learn(self, updates: int) -> None:
        if updates == 0 or self.replay.stored <= self.replay.batch_size:
            return
        for batch in self.replay.sample(updates):
            with timeit("update"):
                losses = self.update(batch)
            self.replay.feed_back(batch, losses)
        self.updates += updates

    def _vector_steps(self) -> Iterator[TensorDictBase]:
        """Vector steps without end, as ``env.step`` returns them; finished environments are reset between."""
        if self.num_envs > 1:
            collector = Collector(
                self.env,
                self.policy,
                frames_per_batch=self.num_envs,
                total_frames=-1,
                trust_policy=True,
                auto_register_policy_transforms=False,
            )
            for batch in collector:
                yield batch.squeeze(1)
        # One environment: TorchRL's collector would take half the time of a step for its own bookkeeping.
        state = self.env.reset()
        while True:
            step = self.env.step(self.policy(state))
            yield step
            state = self.env.reset() if step["next", "done"].item() else step_mdp(step)
