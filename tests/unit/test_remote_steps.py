"""Collectors: the schedule of one process, the same run whenever it goes on, and nothing lost with one lost.

Ray is played by `tests.unit.fake_ray`; `tests/e2e/test_collectors.py` has the real one.
"""

import sys

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from tests.unit import test_checkpoints
from tests.unit.fake_ray import FakeRay
from tests.unit.test_checkpoints import differences, run, start, trial_of
from torchrl_gpu import api
from torchrl_gpu.collect.collector import Collector, read_weights, write_weights
from torchrl_gpu.collect.remote_steps import LOSSES
from torchrl_gpu.collect.step import Step
from torchrl_gpu.ranks import Ranks
from torchrl_gpu.replay.windows import RobotWindows, StreamWindows
from torchrl_gpu.runs.interruption import Interrupted
from torchrl_gpu.settings.parse import ConfigError
from torchrl_gpu.train_torchrl_gpu import check
from torchrl_gpu.watch.statistics import EpisodeStatistics, StreamStatistics

_short_evaluations = test_checkpoints._short_evaluations
KEYS = {"num_envs": 4, "backend": "torch", "eval_freq": 1000, "collectors": 2, "weights_every": 2}
PIECE = 8  # timesteps: of two updates


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.fixture
def learn(tmp_path, ray):
    """Train a trial, with something done between its steps; gives the trainer."""

    def learn(between_steps=lambda trainer: None, **changes):
        trainer, _, _ = start(trial_of(**KEYS, **changes), tmp_path / "run")
        trainer.steps.lost = []
        trainer.steps.warn = trainer.steps.lost.append
        trainer.learn(tmp_path / "run", lambda: between_steps(trainer))
        trainer.progress.log.close(True)
        return trainer

    return learn


def updates_of(trainer):
    return trainer.schedule.updates(0, trainer.schedule.total_timesteps + 1)


def orders_of(ray):
    """All pieces that were made, in the order of their timesteps."""
    return sorted((order, number) for number, actor in enumerate(ray.actors) for order in actor.orders)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_every_learner_follows_the_schedule_with_collectors(agent_type, learn, ray):
    trainer = learn(agent_type=agent_type)
    assert trainer.timestep == 132
    assert trainer.updates == updates_of(trainer) == 20
    assert len(ray.actors) == 2
    pieces = orders_of(ray)
    assert [order.timestep for order, _ in pieces] == list(range(0, 131, PIECE))
    assert [number for _, number in pieces] == [0, 1] * 8 + [0]  # in turn
    for order, _ in pieces:
        expected = [trainer.schedule.epsilon(order.timestep + 4 * k) for k in range(len(order.epsilons))]
        assert list(order.epsilons) == expected
    assert [len(order.epsilons) for order, _ in pieces] == [2] * 16 + [1]


def test_collectors_act_with_weights_at_most_so_old(learn, ray):
    trainer = learn()
    orders = [order for order, _ in orders_of(ray)]
    versions = [order.version for order in orders]
    assert versions == sorted(versions)
    first = next(k for k, version in enumerate(versions) if version)
    assert set(map(lambda a, b: b - a, versions[first:], versions[first + 1 :])) == {2}
    # Two pieces are under way while one is used, an update each 4 timesteps: 4 to 5 updates lie between.
    for order in orders[first + 2 :]:
        assert order.version + 4 == trainer.schedule.updates(0, order.timestep)
    assert torch.equal(
        read_weights(ray.actors[0].object.steps.policy.agent.learner.acting_network),
        trainer.steps._weights,
    )


def test_staleness_and_working_collectors_are_told(learn):
    told = []
    learn(lambda trainer: told.append(trainer.steps.scalars()))
    assert {each["collect/collectors"] for each in told} == {2.0}
    stale = [each["collect/staleness"] for each in told]
    assert stale[0] == 0.0
    assert set(stale[-8:]) == {4.0, 5.0}


def test_the_series_are_in_the_folder(learn, tmp_path, monkeypatch):
    monkeypatch.setattr("torchrl_gpu.watch.progress.MIN_LOG_STEPS", 5)
    learn()
    for name in ("staleness", "collectors"):
        assert (tmp_path / "run" / "csv" / "scalars" / "collect" / f"{name}.csv").read_text()


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_weights_travel_whole(agent_type):
    here, there = (Agent(agent_type=agent_type, seed=seed, training=False).learner for seed in (1, 2))
    state = here.acting_network.state_dict()
    assert any(not torch.equal(each, state[name]) for name, each in there.acting_network.state_dict().items())
    write_weights(there.acting_network, read_weights(here.acting_network))
    for name, each in there.acting_network.state_dict().items():
        assert torch.equal(each, state[name])


# ---- checkpoints

RUNS = {
    "n steps": {"agent_type": "DDPG", "bootstrap_steps": 3, "average_tau": 0.1},
    "Rainbow": {"agent_type": "Rainbow", "weights_every": 5},
}
MORE_RUNS = {
    "DQN": {},
    "draws to act": {"agent_type": "SAC", "observation_scale": True},
    "three": {"agent_type": "IQN", "collectors": 3, "stage_mix": True},
}


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    "changes",
    [*RUNS.values(), *(pytest.param(keys, marks=pytest.mark.slow) for keys in MORE_RUNS.values())],
    ids=[*RUNS, *MORE_RUNS],
)
def test_a_run_that_stops_and_goes_on_is_the_run_that_never_stopped(changes, tmp_path):
    trial = trial_of(**{**KEYS, **changes})
    _, state = run(trial, tmp_path / "whole")
    _, resumed = run(trial, tmp_path / "parts", 28, 100)  # in the middle of a piece
    assert differences(state, resumed) == []


@pytest.mark.usefixtures("ray")
def test_a_forgotten_part_is_noticed(tmp_path, monkeypatch):
    trial = trial_of(**KEYS)
    _, state = run(trial, tmp_path / "whole")
    load = Collector.load_state_dict

    def forgetful(self, state):
        load(self, state)
        self.steps.env.world.seed(1)

    monkeypatch.setattr(Collector, "load_state_dict", forgetful)
    _, resumed = run(trial, tmp_path / "parts", 28)
    assert differences(state, resumed)


# ---- losses


def losing(ray, fate, *timesteps):
    """Something that happens to the newest collector before these timesteps."""

    def between_steps(trainer):
        if trainer.timestep in timesteps:
            setattr(ray.actors[-1], fate, True)

    return between_steps


@pytest.mark.parametrize(("fate", "why"), [("dead", "ActorDiedError"), ("hung", "no answer for 600 s")])
@pytest.mark.parametrize("timestep", [4, 60, 116, 120, 124])
def test_a_lost_collector_is_replaced_and_the_schedule_kept(fate, why, timestep, learn, ray):
    trainer = learn(losing(ray, fate, timestep), bootstrap_steps=2)
    assert trainer.timestep == 132
    assert trainer.updates == updates_of(trainer)
    if trainer.steps.lost:  # at the very end nobody needs another
        line = f"collector 1 was lost ({why}); the others go on until another is there"
        assert trainer.steps.lost == [line]
        assert len(ray.actors) == 3
        assert ray.actors[2].args != ray.actors[1].args  # nor its seed: it must not see the same again


def test_a_collector_has_time_to_start(learn, ray):
    learn(collector_timeout=5.0)
    assert ray.patience[:2] == [600.0, 600.0]  # two collectors
    assert set(ray.patience[2:]) == {5.0}


def test_some_loss_is_noticed_in_time(learn, ray):
    assert learn(losing(ray, "dead", 60)).steps.lost


def test_meanwhile_the_others_go_on(learn, ray, monkeypatch):
    working, new = [], ray._new

    def slow(kind, args):
        actor = new(kind, args)
        actor.hung = len(ray.actors) == 3  # it takes its time to start
        return actor

    monkeypatch.setattr(ray, "_new", slow)

    def between_steps(trainer):
        if trainer.timestep == 60:
            ray.actors[1].dead = True
        if len(ray.actors) == 3:
            ray.actors[2].hung = trainer.timestep < 100
            working.append(trainer.steps.scalars()["collect/collectors"])

    trainer = learn(between_steps)
    assert working[0] == 1.0
    assert working[-1] == 2.0
    assert trainer.updates == updates_of(trainer)
    assert ray.actors[2].orders


def test_a_checkpoint_while_one_is_being_replaced_goes_on(tmp_path, ray):
    trial = trial_of(**KEYS)
    trainer, checkpoints, _ = start(trial, tmp_path)

    def between_steps():
        if trainer.timestep == 60:
            ray.actors[1].dead = True
        if len(ray.actors) == 3:
            ray.actors[2].hung = True
            assert checkpoints.save()
            raise Interrupted

    with pytest.raises(Interrupted):
        trainer.learn(tmp_path, between_steps)
    resumed, checkpoints, _ = start(trial, tmp_path)
    assert checkpoints.restore()
    resumed.learn(tmp_path)
    assert resumed.updates == updates_of(resumed)


def test_a_trial_that_kills_its_collectors_has_failed(learn, ray, monkeypatch):
    new = ray._new

    def dying(kind, args):
        actor = new(kind, args)
        actor.dead = len(ray.actors) > 2
        return actor

    monkeypatch.setattr(ray, "_new", dying)
    with pytest.raises(RuntimeError, match=f"collector 1 was lost {LOSSES} times without an answer"):
        learn(losing(ray, "dead", 60))


def test_what_a_collector_meets_is_met_here(learn, monkeypatch):
    def collect(self, order, weights=None):
        raise ValueError("action is nan")

    monkeypatch.setattr(Collector, "collect", collect)
    with pytest.raises(ValueError, match="action is nan"):
        learn()


# ---- streams


def step_of(stream, reward, fresh=False, done=False, robots=2):
    rows = torch.zeros(robots, 78)
    rows[:, 39] = reward
    flags = torch.full((robots,), done)
    return Step(
        rows,
        torch.ones(robots, dtype=torch.bool),
        flags,
        torch.full((1, robots), float(reward)),
        torch.zeros(1, robots, dtype=torch.int8),
        torch.tensor([done]),
        stream,
        fresh,
    )


def test_windows_do_not_mix_collectors_nor_reach_over_a_loss():
    windows = StreamWindows([RobotWindows(2, 0.5) for _ in range(2)])
    assert windows(step_of(0, 1)) is None
    assert windows(step_of(1, 10)) is None
    assert windows(step_of(0, 2)).rows[0, 39] == 2.0
    assert windows(step_of(1, 20)).rows[0, 39] == 20.0
    assert windows(step_of(1, 40, fresh=True)) is None
    assert windows(step_of(0, 4)).rows[0, 39] == 4.0
    assert windows(step_of(1, 80)).rows[0, 39] == 80.0


def test_statistics_do_not_mix_collectors_nor_reach_over_a_loss():
    statistics = StreamStatistics([EpisodeStatistics(1, 2, 1.0, "cpu") for _ in range(2)])
    for step in (step_of(0, 1), step_of(1, 10), step_of(0, 1, done=True), step_of(1, 5, fresh=True)):
        statistics(step, 0)
    statistics(step_of(1, 5, done=True), 0)
    assert statistics.read() == (2, 2 + 10, 0, 4)


# ---- refusals


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"backend": "numpy"}, "key 'collectors': 2 needs 'backend' \"torch\", as --fast chooses; in rep"),
        ({"collectors": 0}, "key 'weights_every': 2 needs 'collectors', which is 0"),
        ({"collectors": 0, "weights_every": 64, "collector_timeout": 5.0}, "'collector_timeout': 5.0 needs"),
        ({"weights_every": 0}, "key 'weights_every': 0 is not allowed; it must be a whole number from 1 to"),
    ],
)
def test_what_has_no_meaning_is_refused(changes, line):
    with pytest.raises(ConfigError, match=line):
        trial_of(**{**KEYS, **changes})


def test_collectors_are_not_for_ranks():
    with pytest.raises(ConfigError, match="key 'collectors': 2 is not for processes of torchrun, here 2"):
        check(trial_of(**KEYS), 1, "cpu", Ranks(0, 2, 0, 2))


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="key 'collectors': 2: Ray is not installed; pip install marinen"):
        api.check_trial(trial_of(**KEYS), "cpu")
