"""What critics expect against what comes: the ledger against plain loops, every learner's expectation."""

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from torchrl_gpu.evaluation import fleets
from torchrl_gpu.evaluation.beliefs import Ledger, beliefs
from torchrl_gpu.evaluation.fleets import Beginning, play
from torchrl_gpu.evaluation.one_by_one import create_eval_configs
from torchrl_gpu.evaluation.tally import rows_of

SCHEDULE = {
    "num_episodes": [6],
    "num_robots": [3],
    "num_cores": [0],
    "num_obstacles": [4],
    "min_start_goal_dis": [8.0],
}


@pytest.fixture
def episodes(monkeypatch):
    monkeypatch.setattr(fleets, "EPISODE_LIMIT", 40)
    return create_eval_configs(MarineNavEnv3(3, is_eval_env=True), SCHEDULE)


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_every_learner_expects_a_return_of_its_actions(agent_type):
    learner = Agent(agent_type=agent_type, BUFFER_SIZE=100, training=False).learner
    world = VectorWorld(4, 3, seed=1)
    world.reset()
    rows = rows_of(world.observation, learner.dtype)
    with torch.no_grad(), learner.acting_mode(use_eval=True):
        action = learner.greedy(rows)
        expected = learner.expected_return(rows, action)
        other = learner.expected_return(rows, action.roll(1, 0))
    assert expected.shape == (12,)
    assert expected.isfinite().all()
    assert not torch.equal(expected, other)
    if agent_type in ("DQN", "Rainbow"):
        with torch.no_grad(), learner.acting_mode(use_eval=True):
            torch.testing.assert_close(expected, learner.action_values(rows).amax(1))


def test_the_ledger_holds_what_came_after_each_step(episodes):
    agent = Agent(agent_type="DQN", BUFFER_SIZE=100, training=False)
    start = Beginning.loaded(episodes, 0)
    seen = []
    ledger = Ledger(agent, start.state)

    def look(step):
        seen.append(step)
        ledger(step)

    tally = play(agent, start, 1, look).tally
    expected, came = ledger.returns(agent.GAMMA)
    rewards = torch.zeros(len(seen), 3, 6)
    for t, step in enumerate(seen):
        rewards[t][:, step.ids] = torch.where(step.acting, step.reward, 0.0)
    for robot, env in ((0, 0), (2, 3), (1, 5)):
        steps = int(tally.steps[robot, env])
        assert expected[:steps, robot, env].isfinite().all()
        assert expected[steps:, robot, env].isnan().all()
        for t in {0, steps // 2, steps - 1}:
            plain = sum(agent.GAMMA ** (k - t) * rewards[k, robot, env] for k in range(t, steps))
            assert float(came[t, robot, env]) == pytest.approx(float(plain), abs=1e-4)
        assert float(came[0, robot, env]) == pytest.approx(float(tally.returns[robot, env]), abs=1e-4)


def test_vessels_are_told_apart_by_their_end(episodes):
    agent = Agent(agent_type="DDPG", BUFFER_SIZE=100, training=False)
    rows = beliefs(agent, episodes, 0)
    tally = play(agent, Beginning.loaded(episodes, 0), 1).tally
    collided = tally.outcomes == Outcome.COLLISION
    counts = {
        "collided": int(collided.sum()),
        "out of time": int(((tally.outcomes == Outcome.NORMAL) & ~collided.any(0)).sum()),
    }
    last = {row.ending: row for row in rows if row.before == 1}
    assert {name: last[name].vessels for name in last} == {name: n for name, n in counts.items() if n}
    assert last["collided"].came < last["out of time"].came
    assert all(row.error >= abs(row.expected - row.came) - 1e-4 for row in rows)
