"""Keys of the config arrive where they act."""

import json
from pathlib import Path

import pytest
import torch

from torchrl_gpu.collect.plain_steps import PlainSteps
from torchrl_gpu.collect.tensor_steps import TensorSteps
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.experiment import build_agent, build_trainer
from torchrl_gpu.settings.parse import ConfigError, make_trials
from torchrl_gpu.train_torchrl_gpu import check
from torchrl_gpu.watch.progress import Verbosity

CONFIG = json.loads((Path(__file__).parents[2] / "config" / "ac_iqn.json").read_text())

LEARNER = {
    "discount": 0.9,
    "tau": 0.25,
    "max_grad_norm": 7.0,
    "num_quantiles": 3,
    "cvar": 0.5,
    "bootstrap_steps": 2,
    "learning_rate": 0.125,
}


def trial_of(**changes):
    (trial,) = make_trials({**CONFIG, "seed": 3, **changes})
    return trial


@pytest.mark.parametrize("key", LEARNER)
def test_the_learner_gets_its_keys(key):
    plain = build_agent(trial_of(buffer_size=100), "cpu").learner
    changed = build_agent(trial_of(buffer_size=100, **{key: LEARNER[key]}), "cpu").learner
    assert changed.settings == plain.settings.model_copy(update={key: LEARNER[key]}) != plain.settings


@pytest.mark.parametrize(("key", "of_adam"), [("learning_rate", "lr"), ("adam_epsilon", "eps")])
def test_the_optimisers_get_their_keys(key, of_adam):
    learner = build_agent(trial_of(buffer_size=100, **{key: 0.125}), "cpu").learner
    assert {each.param_groups[0][of_adam] for each in learner.optimizers.values()} == {0.125}


def test_the_atoms_of_rainbow_reach_as_far_as_its_keys():
    keys = {"agent_type": "Rainbow", "batch_size": 4, "v_min": -10, "v_max": 40}
    trial = trial_of(buffer_size=100, **keys)
    learner = build_agent(trial, "cpu").learner
    assert trial.changed_throughput_keys == ("v_min", "v_max")
    assert learner.support[[0, 1, -1]].tolist() == [-10, -9, 40]
    assert learner.delta_z == 1
    with pytest.raises(ConfigError, match="'v_max': 0 is not allowed; it must be a number above 0"):
        trial_of(buffer_size=100, **keys | {"v_max": 0})


def test_the_return_has_the_steps_of_its_learner():
    rainbow = build_agent(
        trial_of(buffer_size=100, agent_type="Rainbow", n_step=4, batch_size=4), "cpu"
    ).learner
    assert rainbow.settings.return_steps == 4
    assert build_agent(trial_of(buffer_size=100, bootstrap_steps=2), "cpu").learner.settings.return_steps == 2


MODES = {"reproduction": {}, "throughput": {"num_envs": 2, "observation_scale": True, "average_tau": 0.5}}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_gives_its_parts(mode, tmp_path):
    trainer = build_trainer(trial_of(buffer_size=100, **MODES[mode]), "cpu", tmp_path, Verbosity.QUIET)
    fast = mode == "throughput"
    assert trainer.num_envs == 1 + fast
    assert isinstance(trainer.steps, TensorSteps if fast else PlainSteps)
    assert isinstance(trainer.evaluate, BatchedEvaluation) == fast
    assert (trainer.average is not None) == trainer.keep_best == fast
    assert trainer.policy.sequential != fast
    assert (tmp_path / "eval_configs.json").is_file()


def test_the_schedule_is_a_section():
    keys = {"total_timesteps": 7000, "eval_freq": 500, "learning_starts": 300, "update_every": 8}
    schedule = trial_of(**keys).schedule
    assert {key: getattr(schedule, key) for key in keys} == keys


def test_a_replay_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="key 'replay_device': device 'cuda' is not available"):
        check(trial_of(replay_device="cuda"), 1, "cpu")
