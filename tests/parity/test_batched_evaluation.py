"""The batched evaluation against the legacy one: metrics, endings and histories, episode by episode."""

import copy
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import torchrl_gpu.evaluation.batched as batched
import torchrl_gpu.evaluation.one_by_one as legacy
from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs import MarineNavEnv3
from tests.contract.goal_seeker import as_index, seek_goal
from torchrl_gpu.evaluation.batched import BatchedEvaluation, RecordSettings
from torchrl_gpu.evaluation.record import EvaluationRecord

DETERMINISTIC = ("AC-IQN", "DDPG", "DQN", "Rainbow")
TOLERANCE = 1e-9
# Goals behind vortices and obstacles, near enough for the goal seeker to arrive or to run into something.
SCENARIOS = {
    "num_episodes": [3, 3, 2],
    "num_robots": [3, 2, 1],
    "num_cores": [0, 3, 0],
    "num_obstacles": [3, 0, 1],
    "min_start_goal_dis": [12.0, 10.0, 8.0],
}


class GoalSeekingAgent:
    """Looks like an `Agent`, arrives within some tens of steps, and acts alike alone and in a batch."""

    GAMMA = 0.99
    dtype = torch.float64
    greedy_type = np.int64

    def __init__(self, continuous: bool = True) -> None:
        self.continuous = continuous
        self.learner = self

    def acting_mode(self, use_eval: bool) -> nullcontext:
        assert use_eval
        return nullcontext()

    def greedy(self, observation: tuple) -> torch.Tensor:
        command = seek_goal(observation[0])
        return command if self.continuous else as_index(command)

    def act(self, state: tuple) -> list[float] | np.int64:
        action = self.greedy((torch.tensor(state[0], dtype=torch.float64)[None],))[0]
        return action.tolist() if self.continuous else np.int64(action)


@pytest.fixture(scope="module")
def noisy_episodes() -> list[dict]:
    env = MarineNavEnv3(seed=21, is_eval_env=True)
    return legacy.create_eval_configs(env, SCENARIOS)


@pytest.fixture(scope="module")
def episodes(noisy_episodes) -> list[dict]:
    """The scenarios with the sensor noise switched off."""
    quiet = copy.deepcopy(noisy_episodes)
    for episode in quiet:
        perception = episode["robots"]["perception"]
        for key, value in (("pos_std", 0.0), ("vel_std", 0.0), ("r_mean_ratio", 1.0)):
            perception[key] = [value] * len(perception[key])
    return quiet


@pytest.fixture
def step_limit(monkeypatch):
    def limit(index: int) -> None:
        for module in (legacy, batched):
            monkeypatch.setattr(module, "EPISODE_LIMIT", index)

    return limit


def play(agent, episodes: list[dict], **options) -> list[legacy.EpisodeResult]:
    options = {"dtype": torch.float64, "verbose": False} | options
    return BatchedEvaluation(agent, episodes, **options)()


def play_legacy(agent, episodes: list[dict]) -> list[legacy.EpisodeResult]:
    return legacy.evaluate(MarineNavEnv3(seed=253, is_eval_env=True), agent, episodes, verbose=False)


def differences(a: legacy.EpisodeResult, b: legacy.EpisodeResult) -> list[str]:
    """Names of everything in which two results differ: lengths and flags at all, numbers beyond 1e-9."""
    found = [name for name in ("reward", "time", "energy") if not close(getattr(a, name), getattr(b, name))]
    found += [name for name in ("success", "outcomes") if getattr(a, name) != getattr(b, name)]
    for name in ("observations", "actions", "trajectories"):
        robots = (getattr(a, name), getattr(b, name))
        if len(robots[0]) != len(robots[1]) or not all(map(same_history, *robots)):
            found.append(name)
    return found


def close(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(1.0, abs(b))


def same_history(a: list, b: list) -> bool:
    """Compare nested lists of numbers and None, of the same shape and of the same kind of numbers."""
    if isinstance(b, (list, tuple)):
        return isinstance(a, (list, tuple)) and len(a) == len(b) and all(map(same_history, a, b))
    if isinstance(b, (float, np.floating)):
        return isinstance(a, float) and close(a, b)
    return a == b and type(a) is type(b)


def test_a_goal_seekers_episodes_end_as_the_legacy_ones(episodes):
    agent = GoalSeekingAgent()
    ours, theirs = play(agent, episodes), play_legacy(agent, episodes)
    assert [differences(a, b) for a, b in zip(ours, theirs, strict=True)] == [[]] * len(episodes)
    # The cases hold arrivals at different steps, and a collision that stops robots still under way.
    assert {result.success for result in theirs} == {True, False}
    outcomes = [result.outcomes for result in theirs]
    assert {"collision", "reach goal", "normal"} == {name for names in outcomes for name in names}
    steps = [[len(actions) for actions in result.actions] for result in theirs]
    assert any(result.success and len(set(s)) > 1 for result, s in zip(theirs, steps, strict=True))
    assert any(not result.success and s.count(max(s)) > 1 for result, s in zip(theirs, steps, strict=True))


@pytest.mark.parametrize("agent_type", DETERMINISTIC)
def test_an_agents_metrics_and_histories_are_the_legacy_ones(agent_type, episodes, step_limit):
    step_limit(25)  # also the ending of episodes in which nothing happens
    agent = Agent(agent_type=agent_type, seed=4, training=False)
    agent.learner.to_dtype(torch.float64)
    ours, theirs = play(agent, episodes), play_legacy(agent, episodes)
    assert [differences(a, b) for a, b in zip(ours, theirs, strict=True)] == [[]] * len(episodes)
    assert max(len(result.trajectories[0]) for result in theirs) == 27
    assert any("too long episode" in result.outcomes for result in theirs)


@pytest.mark.slow
def test_an_idle_robot_is_stopped_after_1001_steps(episodes):
    class Idle(GoalSeekingAgent):
        def greedy(self, observation: tuple) -> torch.Tensor:
            return torch.zeros(len(observation[0]), 2, dtype=torch.float64)

    alone = episodes[-1:]
    [ours], [theirs] = play(Idle(), alone), play_legacy(Idle(), alone)
    assert differences(ours, theirs) == []
    assert len(ours.actions[0]) == 1001


def test_a_perturbed_constant_is_noticed(episodes, step_limit):
    step_limit(25)
    agent = GoalSeekingAgent()
    theirs = play_legacy(agent, episodes)

    def noticed(agent: GoalSeekingAgent, episodes: list[dict]) -> set[str]:
        ours = play(agent, episodes)
        return {name for a, b in zip(ours, theirs, strict=True) for name in differences(a, b)}

    impatient = GoalSeekingAgent()
    impatient.GAMMA = 0.99 + 1e-8
    assert noticed(impatient, episodes) == {"reward"}
    wide_goals, thirsty = copy.deepcopy(episodes), copy.deepcopy(episodes)
    for wide, hungry in zip(wide_goals, thirsty, strict=True):
        wide["robots"]["goal_dis"] = [value + 1.0 for value in wide["robots"]["goal_dis"]]
        hungry["robots"]["power_coefficient"][0] *= 1 + 1e-7
    assert noticed(agent, wide_goals) >= {"reward", "time", "energy", "actions", "trajectories"}
    assert noticed(agent, thirsty) == {"energy"}


def test_discrete_actions_are_indices_as_the_legacy_agents_give_them(episodes, step_limit):
    step_limit(3)
    for agent_type, kind in (("DQN", np.int64), ("Rainbow", int)):
        [result] = play(Agent(agent_type=agent_type, training=False), episodes[:1])
        assert {type(action) for actions in result.actions for action in actions} == {kind}


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_an_evaluation_repeats_itself_and_leaves_the_draws_of_training_alone(
    agent_type, noisy_episodes, step_limit
):
    step_limit(4)
    agent = Agent(agent_type=agent_type, seed=4)
    evaluation = BatchedEvaluation(agent, noisy_episodes, verbose=False)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    first = evaluation()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_equal(np.random.get_state(), before[2])
    assert agent.learner.acting_network.training
    torch.rand(3)
    assert evaluation() == first
    other = BatchedEvaluation(agent, noisy_episodes, verbose=False, seed=1)()
    assert [result.observations for result in other] != [result.observations for result in first]


def test_noise_differs_from_step_to_step(noisy_episodes, step_limit):
    """The seed of the first observation must not give the first step its noise again."""
    step_limit(0)
    [result] = play(GoalSeekingAgent(), noisy_episodes[:1])
    radii = [[{row[4] for row in objects} for _, objects in robot] for robot in result.observations]
    assert all(before for before, _ in radii)
    # Radii do not move: only the noise can change those of the objects seen.
    assert not any(before & after for before, after in radii)


def test_results_do_not_depend_on_how_often_the_host_looks(episodes, step_limit):
    """On a GPU the networks act for all robots, and the worlds run on for a while after the last ending."""
    step_limit(70)
    agent = GoalSeekingAgent()
    evaluation = BatchedEvaluation(agent, episodes, dtype=torch.float64, verbose=False)
    at_once = evaluation()
    evaluation._host_waits = True
    assert [differences(a, b) for a, b in zip(evaluation(), at_once, strict=True)] == [[]] * len(episodes)


def test_without_histories_the_metrics_are_the_same(episodes, step_limit, capsys):
    step_limit(10)
    agent = GoalSeekingAgent(continuous=False)
    full = play(agent, episodes)
    cheap = play(agent, episodes, settings=RecordSettings(record_histories=False), verbose=True)
    assert "Average cumulative reward" in capsys.readouterr().out
    for a, b in zip(cheap, full, strict=True):
        assert (a.reward, a.success, a.time, a.energy) == (b.reward, b.success, b.time, b.energy)
        assert (a.observations, a.actions, a.trajectories) == ([], [], [])


def test_the_record_reads_back_what_was_evaluated(episodes, step_limit, tmp_path):
    step_limit(6)
    results = play(GoalSeekingAgent(), episodes)
    record = EvaluationRecord()
    record.append(2000, results)
    loaded = EvaluationRecord.load(record.save(tmp_path))
    for e, result in enumerate(results):
        assert loaded.rewards[0][e] == result.reward
        for name in ("observations", "actions", "trajectories"):
            assert same_history(getattr(loaded, name)[0][e], getattr(result, name))


def test_no_episodes_are_refused():
    with pytest.raises(ValueError, match="episodes is empty"):
        BatchedEvaluation(GoalSeekingAgent(), [])


@pytest.mark.gpu
def test_on_a_gpu_the_host_waits_only_to_look_for_the_end(episodes, step_limit):
    step_limit(40)
    agent = Agent(agent_type="IQN", seed=4, device="cuda", training=False)
    agent.learner.noise_source = "cuda"
    evaluation = BatchedEvaluation(agent, episodes, "cuda", verbose=False)
    state = torch.cuda.get_rng_state()
    first = evaluation()
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert evaluation() == first
    step_limit(20)  # less than the interval of looking
    with torch.no_grad():
        torch.cuda.set_sync_debug_mode("error")
        try:
            evaluation._play()
        finally:
            torch.cuda.set_sync_debug_mode("default")
