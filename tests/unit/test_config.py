"""Reading, checking and expanding a config; the shipped configs."""

import copy
import json
import time
from pathlib import Path

import pytest

from agents.learners import LEARNERS
from agents.settings import key
from marinenav_env.envs.contract.rewards import DEFAULT_REWARDS
from torchrl_gpu.settings import reference
from torchrl_gpu.settings.errors import ConfigError
from torchrl_gpu.settings.parse import expand, make_trials, read_config
from torchrl_gpu.settings.sections import keys_of, learners, owners, sections

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
        assert trial["training_schedule"] == trial.world.training_schedule.model_dump()
        assert trial["training_schedule"] == LEGACY["training_schedule"]
        assert list(trial.values)[-2:] == ["training_schedule", "eval_schedule"]


def test_every_weight_of_the_reward_is_a_key_with_the_default_of_its_term():
    (trial,) = make_trials(config(goal_reward=12))
    assert trial.world.rewards == DEFAULT_REWARDS | {"goal_reward": 12}
    assert trial.changed_throughput_keys == ("goal_reward",)


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
    assert (trial["discount"], trial["tau"], trial["max_grad_norm"]) == (0.99, 1.0, 0.5)
    assert (trial["num_envs"], trial["backend"], trial["load_model"]) == (1, "numpy", None)


@pytest.mark.parametrize("change", [{"num_envs": 2}, {"backend": "torch"}, {"compile": True}, {"cvar": 0.5}])
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


def all_but_rainbow(learner):
    return not learner.prioritized


def continuous(learner):
    return learner.continuous


LACKING = [
    ("DQN", {"cvar": 0.5}, None),
    ("DQN", {"num_quantiles": 4}, None),
    ("IQN", {"cvar": 1.0}, None),
    ("SAC", {"n_step": 5}, None),
    ("Rainbow", {"bootstrap_steps": 1}, all_but_rainbow),
    ("Rainbow", {"prioritized_replay": True}, all_but_rainbow),
    ("IQN", {"action_noise": 0.1}, continuous),
]


@pytest.mark.parametrize(("agent", "change", "owns"), LACKING)
def test_a_key_without_effect_is_refused_and_says_who_has_it(agent, change, owns):
    [name] = change
    own = owns or (lambda learner: name in learner.Settings.model_fields)
    owners = ", ".join(learner.name for learner in LEARNERS.values() if own(learner))
    expected = f"^key '{name}' has no effect on {agent}; those that have it: {owners}$"
    with pytest.raises(ConfigError, match=expected):
        make_trials(config(agent_type=agent, **change))


def test_a_key_that_is_gone_says_so():
    with pytest.raises(ConfigError, match=r"^key 'n_step_streams' is gone: .*; leave it out$"):
        make_trials(config(agent_type="Rainbow", n_step_streams="auto"))


def test_in_a_sweep_over_agents_those_that_lack_a_key_ignore_it():
    trials = make_trials(config(agent_type=["DQN", "AC-IQN"], cvar=[1.0, 0.5], seed=[0, 1]))
    names = ("agent_type_DQN", "agent_type_AC-IQN_cvar_1.0", "agent_type_AC-IQN_cvar_0.5")
    assert [trial.name for trial in trials] == [f"seed_{seed}_{name}" for seed in (0, 1) for name in names]
    assert [trial.reproduction for trial in trials] == [True, True, False] * 2
    assert ["cvar" in trial.values for trial in trials] == [False, True, True] * 2
    for trial in trials:  # as `--resume` reads it
        assert make_trials(trial.values)[0].learner == trial.learner


def test_a_key_that_no_agent_of_a_sweep_has_is_refused():
    with pytest.raises(ConfigError, match="'cvar' has no effect on DQN and IQN"):
        make_trials(config(agent_type=["DQN", "IQN"], cvar=0.5))


def test_what_no_agent_tells_apart_is_told_as_one_folder():
    with pytest.raises(ConfigError, match=r"two trials would write into runs/.../seed_0_agent_type_DQN;"):
        make_trials(config(agent_type=["DQN", "DQN", "AC-IQN"]))


def test_the_reference_and_the_schema_are_fresh():
    written = json.loads(reference.SCHEMA_FILE.read_text(encoding="utf-8"))
    assert written == reference.json_schema(), "run python -m torchrl_gpu.settings"
    text = reference.DOCUMENT.read_text(encoding="utf-8")
    assert reference.reference() in text, "run python -m torchrl_gpu.settings"


def test_the_reference_lists_every_key():
    lines = [line for line in reference.reference().splitlines() if line.startswith("| `")]
    keys = [key for section in sections().values() for key in section.model_fields]
    assert set(keys) < {line.split("`")[1] for line in lines}
    assert set(owners()) < {line.split("`")[1] for line in lines}


def test_the_schema_knows_the_keys_of_every_learner():
    properties = reference.json_schema()["properties"]
    keys = {key for learner in learners().values() for key in learner.Settings.model_fields}
    assert keys < set(properties)
    assert properties["cvar"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    assert properties["agent_type"]["anyOf"][1]["items"]["enum"] == list(learners())


def test_learners_may_differ_in_what_they_allow_a_key_to_be(monkeypatch):
    class Settings(LEARNERS["QR-DQN"].Settings):
        cvar: int = key(7, "another thing", ge=5)

    class Mine(LEARNERS["DDPG"]):
        """Not registered by name, so that it goes with the test."""

    Mine.Settings = Settings
    monkeypatch.setitem(LEARNERS, "Mine", Mine)
    for cached in (owners, keys_of):
        cached.cache_clear()
    try:
        cvar = reference.json_schema()["properties"]["cvar"]
        rows = [line for line in reference.reference().splitlines() if line.startswith("| `cvar` |")]
    finally:
        monkeypatch.undo()
        for cached in (owners, keys_of):
            cached.cache_clear()
    one, other = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"type": "integer", "minimum": 5}
    sweep = {"type": "array", "minItems": 1, "items": {"anyOf": [one, other]}}
    assert cvar == {"anyOf": [one, other, sweep, {"$ref": "#/$defs/range"}]}
    assert [row.split("|")[4].split(":")[0].strip() for row in rows] == ["AC-IQN", "Mine"]


def test_every_default_is_allowed():
    assert make_trials(config(**{
        key: field.default
        for section in sections().values()
        for key, field in section.model_fields.items()
        if not field.is_required()
    }))  # fmt: skip


def test_a_byte_order_mark_is_no_part_of_a_config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config()), encoding="utf-8-sig")
    assert read_config(path).trials[0].reproduction


def test_an_editor_may_be_told_the_schema(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"$schema": "schema.json"} | config()), encoding="utf-8")
    assert "$schema" not in read_config(path).trials[0].values


def test_many_keys_are_told_apart_in_no_time(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({f"key{k}": k for k in range(100_000)}), encoding="utf-8")
    start = time.process_time()
    with pytest.raises(ConfigError, match="unknown key 'key0'"):
        read_config(path)
    assert time.process_time() - start < 20  # some 100 s where each was looked up among all


def test_the_home_folder_has_a_short_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    (trial,) = make_trials(config(save_dir="~/runs/"))
    assert trial.run.save_dir == "/home/ada/runs"
    assert trial.values["save_dir"] == "~/runs/"


def test_a_run_that_would_learn_nothing_is_refused():
    refused = r"'total_timesteps': \d+ must be at least 'learning_starts', 2000"
    for given in ({"learning_starts": 2000}, {"num_envs": 4}):
        for total in (10, 1999):
            with pytest.raises(ConfigError, match=refused):
                make_trials(config(total_timesteps=total, **given))
        assert make_trials(config(total_timesteps=2000, **given))
    assert make_trials(config(total_timesteps=10))  # as legacy configs may be


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"learning_starts": 0, "update_every": 4}, False),
        ({"learning_starts": 0, "update_every": 100}, True),
        ({"learning_starts": 30}, False),
        ({"learning_starts": 100}, True),
        ({"learning_starts": 2000, "batch_size": 9000}, False),
        ({"buffer_size": 180}, False),
        ({"learning_starts": 0, "n_step": 1}, True),
        ({"learning_starts": 30, "num_envs": 2}, True),
        ({"learning_starts": 30, "agent_type": "DQN"}, True),
    ],
)
def test_rainbow_is_refused_where_no_batch_can_be_valid_at_its_start(changes, fits):
    written = config(**{"agent_type": "Rainbow", **changes})
    if fits:
        assert make_trials(written)
        return
    with pytest.raises(
        ConfigError, match=r"key 'learning_starts': \d+ is too early for Rainbow in reproduction"
    ):
        make_trials(written)


def test_a_trial_tells_its_mode_and_why():
    (slow,) = make_trials(config())
    assert slow.mode.startswith("reproduction mode")
    assert slow.mode.endswith("faster with --fast")
    (fast,) = make_trials(config(num_envs=2, cvar=0.5))
    assert fast.mode == "throughput mode, because of num_envs 2, cvar 0.5"


def test_whole_numbers_are_numbers():
    assert make_trials(config(tau=1, **schedule("eval_schedule", min_start_goal_dis=[30] * 6)))


def test_the_small_configs_show_both_modes():
    (fast,) = read_config(CONFIGS / "quickstart.json").trials
    (legacy,) = read_config(CONFIGS / "quickstart_legacy.json").trials
    assert not fast.reproduction
    assert legacy.reproduction
