"""Whole training runs of the six agents against the recorded ones (golden `train_main_*`).

Draws, schedule, curriculum, transitions and sampled indices must be right to the end of the run. What the
weights compute is compared tightly for the first 20 updates; later the continuous agents amplify the last
bits in which vector instruction sets differ (the recording's README names 10 % for AC-IQN's last losses).
"""

import json

import numpy as np
import pytest

from agents.models.files import files_of
from tests.parity.training_run import GuidedRun, settings
from torchrl_gpu.evaluation.record import EvaluationRecord

AGENTS = ("AC-IQN", "IQN", "DDPG", "DQN", "SAC", "Rainbow")

EXACT = (
    "eps",
    "num_robots",
    "episode",
    "active",
    "dones",
    "obs_object_count",
    "reset.timestep",
    "reset.config",
    "update.timestep",
    "soft_update.timestep",
    "update.sample.idx",
)
CLOSE = ("rewards", "obs_self_sum", "obs_objects_sum", "reset.obs_self_sum", "reset.obs_objects_sum")


class Case:
    """A recording and the run made along it."""

    def __init__(self, golden, agent_type, directory):
        with np.load(golden / "agents" / f"train_main_{agent_type}.npz") as archive:
            self.recording = dict(archive)
        self.directory = directory
        self.run = GuidedRun(settings(golden, agent_type), self.recording).learn(directory)
        self.seen = self.run.seen
        self.agent = self.run.trainer.rl_agent


@pytest.fixture(scope="module", params=AGENTS)
def case(request, golden, tmp_path_factory):
    return Case(golden, request.param, tmp_path_factory.mktemp(request.param))


def differing(seen, recording):
    """Keys of what happened in which it differs from the beginning of the recording."""
    keys = []
    for key in (*EXACT, *CLOSE, "update.losses"):
        if key not in seen:  # Rainbow does not sample through `random`
            continue
        mine = np.array(seen[key])
        recorded = recording[key][: len(mine)]
        if key in EXACT:
            same = np.array_equal(mine, recorded)
        elif key in CLOSE:
            same = np.allclose(mine, recorded, rtol=1e-9, atol=1e-9, equal_nan=True)
        else:
            same = np.allclose(mine[:20], recorded[:20], rtol=2e-4, atol=2e-5)
        if not same:
            keys.append(key)
    return keys


def test_every_timestep_reset_update_and_sample_is_the_recorded_one(case):
    assert len(case.seen["eps"]) == 601
    assert {key for key in EXACT if key in case.recording} <= set(case.seen)
    for key in ("update.losses", *EXACT):
        assert key not in case.recording or len(case.seen[key]) == len(case.recording[key])
    assert differing(case.seen, case.recording) == []


def test_generators_stand_where_the_recording_has_them(case):
    for moment in ("rng_start", "rng_end"):
        for name, value in case.seen[moment].items():
            np.testing.assert_array_equal(value, case.recording[f"{moment}.{name}"], f"{moment} {name}")


def test_actions(case):
    active = case.recording["active"]
    recorded, mine = case.recording["actions"][active], np.array(case.seen["actions"])
    timesteps = np.nonzero(active)[0]
    if case.agent.continuous:
        early = timesteps <= 180
        np.testing.assert_allclose(mine[early], recorded[early], atol=1e-4)
    else:
        assert np.mean(mine != recorded) < 0.01  # two actions may be worth the same to the last bit


def test_later_losses_stay_near(case):
    rtol, atol = (0.3, 0.2) if case.agent.continuous else (1e-3, 1e-3)
    np.testing.assert_allclose(
        case.seen["update.losses"], case.recording["update.losses"], rtol=rtol, atol=atol
    )


def test_evaluations_whose_step_counts_agree(case):
    record, recording = case.run.trainer.record, case.recording
    assert record.timesteps == recording["eval.timesteps"].tolist()
    lengths = np.array([[len(episode[0]) - 1 for episode in row] for row in record.observations])
    agree = lengths == recording["eval.lengths"]
    if case.agent.continuous:
        agree[1:] = False  # by then the weights differ
    assert agree[0].any()
    for key in ("rewards", "times", "energies"):
        mine = np.array(getattr(record, key), dtype=float)
        recorded = recording[f"eval.{key}"]
        np.testing.assert_allclose(mine[agree], recorded[agree], rtol=0.02, atol=0.3, err_msg=key)
    np.testing.assert_array_equal(np.array(record.successes)[agree], recording["eval.successes"][agree])


def test_last_evaluation_starts_as_recorded(case):
    rows, first = (1, 0) if case.agent.continuous else (20, 0)
    recording = case.recording
    for episode, robot, length in zip(
        recording["eval.last.episode"],
        recording["eval.last.robot"],
        recording["eval.last.length"],
        strict=True,
    ):
        trajectory = case.run.trainer.eval_trajectories[-1][episode][robot]
        expected = recording["eval.last.trajectory"][first : first + min(rows, length)]
        np.testing.assert_allclose(trajectory[: len(expected)], expected, atol=1e-6)
        first += length


def test_final_parameters(case):
    rtol = 3e-3 if case.agent.continuous else 1e-6
    for copy, policy in (("local", case.agent.policy_local), ("target", case.agent.policy_target)):
        for name, network in case.agent.learner.networks(policy).items():
            key = f"final.{copy}.{'policy' if name == 'network' else name}"
            tensors = network.state_dict()
            assert list(tensors) == case.recording[f"{key}.names"].tolist()
            sums = [tensor.double().sum().item() for tensor in tensors.values()]
            atol = rtol * case.recording[f"{key}.abs_sum"].max()
            np.testing.assert_allclose(sums, case.recording[f"{key}.sum"], rtol=0, atol=atol, err_msg=key)


def test_final_optimizers_and_memory(case):
    """The steps count the batches in which a parameter had a gradient (Quirk A15)."""
    for name, optimizer in case.agent.learner.optimizers.items():
        key = "optimizer" if name == "network" else f"{name}_optimizer"
        steps = [state["step"].item() for state in optimizer.state.values()]
        np.testing.assert_array_equal(steps, case.recording[f"final.opt.{key}.step"])
    extra = 1 if case.agent.agent_type == "Rainbow" else 0  # Quirk A4
    assert case.agent.stored == case.recording["final.memory_size"] + extra


def test_files(case, golden):
    expected = json.loads((golden / "agents" / "train_main_eval_configs.json").read_text())
    assert_same_episodes(json.loads((case.directory / "eval_configs.json").read_text()), expected)
    assert EvaluationRecord.load(case.directory) == case.run.trainer.record
    for network in case.agent.learner.network_names:
        files = files_of(network)
        assert (case.directory / files.weights).is_file(), network
        assert (case.directory / files.constructor_parameters).is_file(), network


def assert_same_episodes(mine, expected, where=""):
    """Nested JSON values: equal structure and types, numbers to 1e-9."""
    if isinstance(expected, dict):
        assert list(mine) == list(expected), where
        for key in expected:
            assert_same_episodes(mine[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(mine) == len(expected), where
        for index, value in enumerate(expected):
            assert_same_episodes(mine[index], value, f"{where}/{index}")
    elif isinstance(expected, float):
        assert mine == pytest.approx(expected, abs=1e-9), where
    else:
        assert mine == expected, where


def change_penalty(run):
    run.trainer.train_env.timestep_penalty *= 1.0001


def change_discount(run):
    run.trainer.rl_agent.GAMMA = 0.95


@pytest.mark.parametrize(
    ("settings_change", "agent_change", "change", "key"),
    [
        ({}, {}, None, None),
        ({"initial_eps": 0.6001}, {}, None, "eps"),
        ({"learning_starts": 96}, {}, None, "update.timestep"),
        ({"seed": 35}, {}, None, "reset.obs_self_sum"),
        ({}, {"BATCH_SIZE": 63}, None, "update.sample.idx"),
        ({}, {"LR": 1.1e-4}, None, "update.losses"),
        ({}, {}, change_discount, "update.losses"),
        ({}, {}, change_penalty, "rewards"),
    ],
    ids=["unchanged", "eps", "learning start", "seed", "batch", "learning rate", "discount", "reward"],
)
def test_broken_twin(golden, tmp_path, settings_change, agent_change, change, key):
    """The comparison notices a run that is slightly wrong, before the first evaluation is over."""
    with np.load(golden / "agents" / "train_main_AC-IQN.npz") as archive:
        recording = dict(archive)
    run = GuidedRun(settings(golden, "AC-IQN") | settings_change, recording, **agent_change)
    if change is not None:
        change(run)
    run.learn_until_evaluation(tmp_path)
    keys = differing(run.seen, recording)
    assert key in keys if key else keys == []
