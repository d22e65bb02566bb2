"""Keys of the config arrive where they act."""

import json
from pathlib import Path

import pytest
import torch

from torchrl_gpu.experiment import build_agent, build_schedule
from torchrl_gpu.settings.parse import ConfigError, make_trials
from torchrl_gpu.train_torchrl_gpu import check

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


def test_the_step_sizes_of_the_optimisers_are_the_key():
    learner = build_agent(trial_of(buffer_size=100, learning_rate=0.125), "cpu").learner
    assert {each.param_groups[0]["lr"] for each in learner.optimizers.values()} == {0.125}


def test_the_return_has_the_steps_of_its_learner():
    rainbow = build_agent(
        trial_of(buffer_size=100, agent_type="Rainbow", n_step=4, batch_size=4), "cpu"
    ).learner
    assert rainbow.settings.return_steps == 4
    assert build_agent(trial_of(buffer_size=100, bootstrap_steps=2), "cpu").learner.settings.return_steps == 2


def test_the_schedule_gets_its_keys():
    keys = {
        "total_timesteps": 7000,
        "eval_freq": 500,
        "learning_starts": 300,
        "target_update_interval": 40,
        "exploration_fraction": 0.5,
        "initial_eps": 0.75,
        "final_eps": 0.125,
        "learning_rate": 0.25,
        "final_learning_rate": 0.0625,
    }
    schedule = build_schedule(trial_of(update_every=8, **keys))
    assert {key: getattr(schedule, key) for key in keys} == keys
    assert schedule.UPDATE_EVERY == 8


def test_a_replay_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="key 'replay_device': device 'cuda' is not available"):
        check(trial_of(replay_device="cuda"), 1, "cpu")
