"""Updates, target copies and evaluations of the TorchRL trainer, counted against the legacy trainer's."""

from types import SimpleNamespace

import pytest
import torch

from agents.agent import Agent
from agents.legacy.trainer import Trainer
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from scripts.train_rl_agents import shared
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.replay.rows import Draw
from torchrl_gpu.torchrl_trainer import TorchRLTrainer
from torchrl_gpu.watch.timings import Timings

TOTAL, EVAL_FREQ = 430, 150
CADENCE = {"UPDATE_EVERY": 4, "learning_starts": 90, "target_update_interval": 130}
STAGE = {
    "timesteps": [0],
    "num_robots": [1],
    "num_cores": [0],
    "num_obstacles": [0],
    "min_start_goal_dis": [10.0],
}
NO_EPISODES = {**{key: [1] for key in STAGE if key != "timesteps"}, "num_episodes": [0]}
RESULT = EpisodeResult(0.0, False, 0.0, 0.0, [], [], [])


class Log(list):
    """What a trainer did, in order: updates, copies, evaluations."""

    def note(self, what):
        return lambda *_, **__: self.append(what)

    @property
    def counts(self):
        return {what: self.count(what) for what in ("update", "copy", "evaluate")}


class LegacyStub:
    """A learner that only counts; a memory that always holds enough."""

    continuous, training, GAMMA, BATCH_SIZE, stored = True, True, 0.99, 64, 10**6

    def __init__(self, log):
        self.train, self.soft_update = log.note("update"), log.note("copy")

    def act(self, *_, **__):
        return [0.0, 0.0]

    def store(self, *_):
        """Nothing is learned from."""

    def save_latest_model(self, _):
        """Nothing to save."""


def legacy_log(tmp_path):
    log = Log()

    def evaluate(*_):
        log.append("evaluate")
        return [RESULT]

    world = MarineNavEnv3(1, schedule=STAGE)
    world.verbose = False
    worlds = world, MarineNavEnv3(253, is_eval_env=True)
    counting = shared()._replace(evaluate=evaluate)
    trainer = Trainer(*worlds, NO_EPISODES, LegacyStub(log), **CADENCE, shared=counting)
    trainer.learn(TOTAL, EVAL_FREQ, tmp_path, verbose=False)
    return log


class ReplayStub:
    """Always holds enough, and hands out empty batches."""

    stored, batch_size = 10**6, 64

    def store(self, *_):
        """Nothing is kept."""

    def sample(self, updates):
        return [Draw(torch.zeros(0, 77))] * updates

    def feed_back(self, *_):
        """Nothing is weighted."""


class SilentProgress:
    """Watches nothing but the time."""

    def __init__(self):
        self.timings = Timings()

    def __call__(self, *_):
        """A vector step was made."""

    start = close = evaluated = learned = note = __call__


def torchrl_log(num_envs, tmp_path):
    log = Log()

    def evaluate():
        log.append("evaluate")
        return [RESULT]

    def update(_):
        log.append("update")
        return {"loss": torch.zeros(())}

    policy = PolicyWrapper(Agent(agent_type="DDPG", BUFFER_SIZE=100))
    learner = SimpleNamespace(
        learner=SimpleNamespace(settings=policy.agent.learner.settings, broken=list),
        soft_update=log.note("copy"),
        save_latest_model=lambda _: None,
    )
    progress = SilentProgress()
    backend = "numpy" if num_envs == 1 else "torch"
    env = MarineNavTorchRLEnv(num_envs, backend=backend, seed=1, schedule=STAGE)
    trainer = TorchRLTrainer(
        env=env,
        policy=policy,
        steps=TensorSteps(env, policy, progress.timings.lap),
        replay=ReplayStub(),
        agent=learner,
        schedule=Schedule(
            total_timesteps=TOTAL, eval_freq=EVAL_FREQ, **{key.lower(): each for key, each in CADENCE.items()}
        ),
        evaluate=evaluate,
        progress=progress,
        update=update,
    )
    trainer.learn(tmp_path)
    return log, trainer


@pytest.mark.parametrize("num_envs", [1, 4, 7, 1024])
def test_any_number_of_environments_follows_the_legacy_schedule(num_envs, tmp_path):
    expected = legacy_log(tmp_path)
    assert expected.counts == {"update": 85, "copy": 3, "evaluate": 3}
    log, trainer = torchrl_log(num_envs, tmp_path)
    assert log == expected  # in the same order, not only as often
    assert trainer.record.timesteps == [90, 150, 300]
    assert trainer.updates == 85
    parts = {"act", "step", "store", "sample", "update", "evaluate", "other"}
    assert trainer.timings.read().keys() == parts


def test_a_shifted_learning_start_is_noticed(monkeypatch, tmp_path):
    expected = legacy_log(tmp_path)
    monkeypatch.setitem(CADENCE, "learning_starts", 140)
    log, _ = torchrl_log(4, tmp_path)
    assert log != expected
