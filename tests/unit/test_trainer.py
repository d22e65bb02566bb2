"""The legacy loop on a scripted world: what happens when, and in which order (training spec 4, 5)."""

from types import SimpleNamespace

import numpy as np
import pytest

from agents.legacy.trainer import Trainer
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.episode import things_in
from marinenav_env.envs.contract.stage import Stage
from scripts.train_rl_agents import shared
from torchrl_gpu.evaluation.one_by_one import create_eval_configs, evaluate, evaluate_episode
from torchrl_gpu.evaluation.record import EvaluationRecord

EVAL_SCHEDULE = {
    "num_episodes": [1, 0, 2],
    "num_robots": [1, 9, 2],
    "num_cores": [0, 9, 3],
    "num_obstacles": [4, 9, 5],
    "min_start_goal_dis": [30.0, 9.0, 35.0],
}


class World:
    """Every episode follows one script: per robot the step at which it collides or arrives (None: never)."""

    def __init__(self, script, log):
        self.script = script
        self.log = log
        self.resets = 0

    @property
    def stage(self):
        return Stage(self.num_robots, self.num_cores, self.num_obs, self.min_start_goal_dis)

    @stage.setter
    def stage(self, stage):
        vars(self).update(stage._asdict())

    placed = stage

    def reset(self):
        self.log.append("reset")
        self.resets += 1
        self.length = 0
        self.robots = [
            SimpleNamespace(
                deactivated=False,
                collision=False,
                reach_goal=False,
                dt=0.05,
                N=10,
                compute_step_energy_cost=lambda: 3.0,
                observation_history=[],
                action_history=[],
                trajectory=[],
            )
            for _ in self.script
        ]
        return self._states(), [], []

    def reset_with_eval_config(self, episode):
        self.log.append(("eval", episode))
        return self.reset()

    def episode_data(self):
        return {"episode": self.resets, "env": {"num_obs": self.num_obs}}

    def _states(self):
        return [
            (None, None) if r.deactivated else (("s", i, self.length), []) for i, r in enumerate(self.robots)
        ]

    def step(self, actions, continuous):
        assert [action is None for action in actions] == [robot.deactivated for robot in self.robots]
        assert continuous is True
        self.log.append("step")
        infos = []
        for robot, end in zip(self.robots, self.script, strict=True):
            if end is not None and self.length == end[1]:
                setattr(robot, end[0], True)
            infos.append({"state": "deactivated after collision" if robot.deactivated else "normal"})
        self.length += 1
        dones = [robot.collision or robot.reach_goal for robot in self.robots]
        return self._states(), [1.0] * len(self.robots), dones, infos

    def check_all_deactivated(self):
        return all(robot.deactivated for robot in self.robots)

    def check_any_collision(self):
        return any(robot.collision for robot in self.robots)

    def check_all_reach_goal(self):
        return all(robot.reach_goal for robot in self.robots)


class Learner:
    GAMMA = 0.5
    BATCH_SIZE = 4
    continuous = True

    def __init__(self, log, training=True):
        self.log = log
        self.training = training
        self.records = []
        self.acts = []

    @property
    def stored(self):
        return len(self.records)

    def act(self, state, eps=0.0, cvar=1.0, use_eval=True):
        self.acts.append((state, eps, use_eval))
        return [0.0, 0.0]

    def store(self, *record):
        self.log.append("store")
        self.records.append(record)

    def train(self):
        self.log.append("train")

    def soft_update(self):
        self.log.append("copy")

    def save_latest_model(self, directory):
        self.log.append("save")


def make(script, training=True, **arguments):
    log = []
    agent = Learner(log, training)
    worlds = World(script, log), World([("reach_goal", 0)], [])
    trainer = Trainer(*worlds, EVAL_SCHEDULE, agent, **arguments, shared=shared())
    return trainer, agent, log


def test_evaluation_episodes_follow_the_schedule():
    trainer, _, _ = make([None])
    asked = [(1, 4), (2, 5), (2, 5)]
    assert [(each["env"]["num_robots"], each["env"]["num_obs"]) for each in trainer.eval_config] == asked
    assert (trainer.eval_env.num_robots, trainer.eval_env.num_cores) == (2, 3)
    assert trainer.eval_env.min_start_goal_dis == 35.0


def test_an_evaluation_stage_without_episodes_leaves_the_world_as_it_is():
    env = MarineNavEnv3(seed=1, is_eval_env=True)
    last = {name: column[::-1] for name, column in EVAL_SCHEDULE.items()} | {"num_episodes": [2, 0, 0]}
    assert len(create_eval_configs(env, last)) == 2
    assert env.stage == Stage(2, 3, 5, 35.0)


def test_evaluation_episodes_in_which_not_all_robots_found_room_are_played_and_named(capsys):
    env = MarineNavEnv3(seed=1, is_eval_env=True)
    schedule = {"num_episodes": [1], "num_robots": [30], "num_cores": [0], "num_obstacles": [0]}
    (episode,) = create_eval_configs(env, schedule | {"min_start_goal_dis": [30.0]})
    number = things_in(episode)[0]
    assert 5 < number == len(env.reset_with_eval_config(episode)[0]) < 30
    printed = f"Evaluation stage 0: num_robots is 30; {number} to {number} found room\n"
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("number", [int, np.int64])
def test_total_timesteps_plus_one_pass(tmp_path, number):
    """Defect T3."""
    trainer, _, log = make([None], learning_starts=number(99))
    trainer.learn(number(7), number(5), tmp_path, verbose=False)
    assert log.count("step") == 8
    assert trainer.current_timestep == 8
    assert not (tmp_path / "evaluations.npz").exists()


def test_an_episode_has_at_most_1001_steps(tmp_path):
    """Defect T4."""
    trainer, _, log = make([None], learning_starts=9999)
    trainer.learn(1001, 5, tmp_path, verbose=False)
    steps = [k for k, entry in enumerate(log) if entry == "reset"]
    assert log[steps[0] : steps[1]].count("step") == 1001


def test_order_within_a_timestep(tmp_path):
    trainer, _, log = make([("collision", 1)], UPDATE_EVERY=5, learning_starts=5, target_update_interval=5)
    trainer.learn(5, 5, tmp_path, verbose=False)
    assert log[-6:] == ["step", "store", "train", "copy", "save", "reset"]


def test_updates_copies_and_evaluations_follow_the_schedule(tmp_path):
    trainer, _, log = make([None], UPDATE_EVERY=3, learning_starts=7, target_update_interval=10)
    trainer.learn(40, 20, tmp_path, verbose=False)
    assert log.count("train") == len([t for t in range(7, 41) if t % 3 == 0])
    assert log.count("copy") == 4
    assert trainer.eval_timesteps == [7, 20, 40]
    assert log.count("save") == 3
    assert EvaluationRecord.load(tmp_path) == trainer.record


def test_no_update_before_more_than_a_batch_is_stored(tmp_path):
    trainer, agent, log = make([None], UPDATE_EVERY=1, learning_starts=0, target_update_interval=99)
    trainer.learn(5, 99, tmp_path, verbose=False)
    assert len(agent.records) == 6
    assert log.count("train") == 2  # at 5 and 6 records, a batch being 4


def test_a_robots_last_transition_is_stored_once_with_its_next_state(tmp_path):
    trainer, agent, _ = make([("collision", 1), None], learning_starts=99)
    trainer.learn(3, 99, tmp_path, verbose=False)
    mine = [record for record in agent.records if record[0][0][1] == 0]
    assert [(state[0][2], after[0][2], done) for state, _, _, after, done in mine] == [
        (0, 1, False),
        (1, 2, True),
    ]
    assert len(agent.records) == 2 + 4


def test_training_acts_explore_and_evaluation_acts_do_not(tmp_path):
    trainer, agent, _ = make(
        [None], learning_starts=2, initial_eps=1.0, final_eps=0.0, exploration_fraction=1.0
    )
    trainer.learn(4, 99, tmp_path, verbose=False)
    training = [(eps, use_eval) for _, eps, use_eval in agent.acts if not use_eval]
    assert training == [(1 - t / 4, False) for t in range(5)]
    assert {(eps, use_eval) for _, eps, use_eval in agent.acts if use_eval} == {(0.0, True)}


def test_an_agent_that_does_not_train_is_only_evaluated(tmp_path):
    """Defect T1: the legacy loop never ended."""
    trainer, agent, log = make([None], training=False, learning_starts=2)
    trainer.learn(6, 3, tmp_path, verbose=False)
    assert trainer.eval_timesteps == [2, 3, 6]
    assert agent.records == []
    assert not {"train", "copy", "save"} & set(log)


def test_imitation_learns_from_the_start_and_acts_with_the_other_agent(tmp_path):
    other = SimpleNamespace(act=lambda state: [0.1, 0.2])
    trainer, agent, _ = make([None], imitation=True, il_agent=other)
    trainer.learn(3, 99, tmp_path, verbose=False)
    assert trainer.eval_timesteps == [0]
    assert [record[1] for record in agent.records] == [[0.1, 0.2]] * 4


def test_imitation_needs_an_agent():
    with pytest.raises(AssertionError, match="il_agent"):
        make([None], imitation=True)


def test_a_run_without_timesteps_is_refused(tmp_path):
    """Defect T20."""
    trainer, _, _ = make([None])
    with pytest.raises(ValueError, match="total_timesteps"):
        trainer.learn(0, 5, tmp_path)


def test_episode_report(tmp_path, capsys):
    trainer, _, _ = make([("collision", 1), ("reach_goal", 3)], learning_starts=99, initial_eps=0.6)
    trainer.learn(3, 99, tmp_path)
    text = capsys.readouterr().out
    assert "RL" in text
    assert "ep_length: 3\n" in text
    assert "ep_num: 1\n" in text
    assert "timesteps: 3\n" in text
    assert "exploration rate: 0.05" in text
    assert "Robot 0 ep reward: 1.50, deactivated after collision at step 1\n" in text
    assert "Robot 1 ep reward: 1.88, normal\n" in text


def test_unknown_attributes_are_not_the_records():
    trainer, _, _ = make([None])
    with pytest.raises(AttributeError):
        trainer.eval_nonsense  # noqa: B018
    with pytest.raises(AttributeError):
        trainer.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("script", "steps", "success", "reward", "time"),
    [
        ([("reach_goal", 0), ("reach_goal", 2)], 3, True, (1.0 + 1.75) / 2, (0.5 + 1.5) / 2),
        ([("reach_goal", 0), ("collision", 1)], 2, False, (1.0 + 1.5) / 2, (0.5 + 1.0) / 2),
        ([("collision", 0), None], 1, False, 1.0, 0.5),
        ([None], 1001, False, 2.0, 500.5),
    ],
    ids=["all arrive", "late collision", "first collision ends it", "cut off"],
)
def test_evaluation_metrics(script, steps, success, reward, time):
    log = []
    result = evaluate_episode(World(script, log), Learner([]), {})
    assert log.count("step") == steps
    assert result.success is success
    assert result.reward == pytest.approx(reward)
    assert result.time == pytest.approx(time)
    assert result.energy == pytest.approx(time / 0.5 * 3.0)


def test_evaluation_prints_one_line_an_episode_and_averages(capsys):
    evaluate(World([("reach_goal", 0)], []), Learner([]), [{}, {}])
    text = capsys.readouterr().out
    assert "episode 0\n" in text
    assert "episode 1\n" in text
    assert "reward: 1.00" in text
    assert "Success rate: 1.00" in text
    assert "time: 0.50" in text
    assert "energy: 3.00" in text


def test_evaluation_without_success_reports_no_time(capsys):
    evaluate(World([("collision", 0)], []), Learner([]), [{}])
    text = capsys.readouterr().out
    assert "Success rate: 0.00" in text
    assert "time" not in text
    evaluate(World([("collision", 0)], []), Learner([]), [{}], verbose=False)
    assert capsys.readouterr().out == ""


def test_evaluation_can_be_asked_for():
    trainer, _, _ = make([("collision", 0)])
    assert trainer.eval_schedule is EVAL_SCHEDULE
    trainer.current_timestep = 7
    trainer.evaluation()
    assert trainer.eval_timesteps == [7]
    assert [len(episodes) for episodes in trainer.eval_rewards] == [3]
