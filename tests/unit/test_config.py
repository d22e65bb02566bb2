"""Reading, checking and expanding a config; the shipped configs."""

import copy
import json
from pathlib import Path

import pytest

from torchrl_gpu.settings.parse import expand, make_trials, read_config
from torchrl_gpu.settings.schema import REQUIRED, SCHEMA, reference

CONFIGS = Path(__file__).parents[2] / "config"
LEGACY = json.loads((CONFIGS / "ac_iqn.json").read_text())


def config(**changes):
    """The legacy AC-IQN config with some keys changed; a key set to ... is left out."""
    merged = copy.deepcopy(LEGACY) | changes
    return {key: value for key, value in merged.items() if value is not ...}


def schedule(name, **changes):
    return {name: copy.deepcopy(LEGACY[name]) | changes}


def test_expansion_order_is_last_key_fastest():
    expanded = expand({"seed": [0, 1], "a": 3, "b": ["x", "y"]})
    assert [tuple(each.values()) for each in expanded] == [(0, 3, "x"), (0, 3, "y"), (1, 3, "x"), (1, 3, "y")]
    assert all(list(each) == ["seed", "a", "b"] for each in expanded)


def test_schedules_are_shared_and_never_expanded():
    trials = make_trials(config(seed=[0, 1]))
    assert [trial["seed"] for trial in trials] == [0, 1]
    for trial in trials:
        assert trial["training_schedule"] == LEGACY["training_schedule"]
        assert list(trial.values)[-2:] == ["training_schedule", "eval_schedule"]


def test_folders_hold_every_swept_key():
    names = {trial.name for trial in make_trials(config(seed=[0, 1], agent_type=["DQN", "IQN"]))}
    assert names == {f"seed_{seed}_agent_type_{kind}" for seed in (0, 1) for kind in ("DQN", "IQN")}
    assert [trial.name for trial in make_trials(config(seed=[3, 4]))] == ["seed_3", "seed_4"]
    assert make_trials(config(learning_rate=[1e-4, 5e-4]))[1].name == "seed_0_learning_rate_0.0005"


def test_absent_keys_have_the_legacy_defaults_and_reproduce():
    (trial,) = make_trials(config())
    assert trial.reproduction
    assert (trial["update_every"], trial["learning_starts"], trial["target_update_interval"]) == (
        4,
        2000,
        10_000,
    )
    assert (trial["buffer_size"], trial["batch_size"], trial["learning_rate"]) == (1_000_000, 64, 1e-4)
    assert (trial["exploration_fraction"], trial["initial_eps"], trial["final_eps"]) == (0.25, 0.6, 0.05)
    assert (trial["discount"], trial["tau"], trial["n_step"], trial["max_grad_norm"]) == (0.99, 1.0, 3, 0.5)
    assert (trial["num_envs"], trial["backend"], trial["load_model"]) == (1, "numpy", None)


@pytest.mark.parametrize(
    "change", [{"num_envs": 2}, {"backend": "torch"}, {"compile": True}, {"n_step_streams": "robot"}]
)
def test_a_throughput_key_leaves_reproduction_mode(change):
    (trial,) = make_trials(config(**change))
    assert not trial.reproduction
    assert trial.changed_throughput_keys == tuple(change)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_config_loads(path):
    trials = read_config(path).trials
    assert len(trials) >= 1
    assert not Path(trials[0]["save_dir"]).is_absolute()


def test_the_six_legacy_configs_differ_in_the_agent_only():
    names = ("ac_iqn", "iqn", "ddpg", "dqn", "sac", "rainbow")
    written = [json.loads((CONFIGS / f"{name}.json").read_text()) for name in names]
    assert [each.pop("agent_type") for each in written] == ["AC-IQN", "IQN", "DDPG", "DQN", "SAC", "Rainbow"]
    assert all(each == written[0] for each in written)
    assert written[0]["total_timesteps"] == 6_000_000
    assert written[0]["training_schedule"]["num_robots"] == [3, 4, 5, 5, 5, 5]


def test_the_agent_types_are_those_that_exist():
    from agents.learners import LEARNERS

    assert set(LEARNERS) == set(SCHEMA["agent_type"].choices)


def test_every_default_is_allowed():
    for name, key in SCHEMA.items():
        assert key.default is REQUIRED or key.default is None or key.accepts(key.default), name


def test_the_reference_lists_every_key():
    lines = reference().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(SCHEMA)


def test_whole_numbers_are_numbers():
    assert make_trials(config(tau=1, **schedule("eval_schedule", min_start_goal_dis=[30] * 6)))


def test_the_small_configs_show_both_modes():
    (fast,) = read_config(CONFIGS / "quickstart.json").trials
    (legacy,) = read_config(CONFIGS / "quickstart_legacy.json").trials
    assert not fast.reproduction
    assert legacy.reproduction
