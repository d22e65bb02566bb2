"""Reading, checking and expanding a config; the shipped configs."""

import copy
import json
from pathlib import Path

import pytest

from torchrl_gpu.config import ConfigError, expand, make_trials, read_config
from torchrl_gpu.config_schema import REQUIRED, SCHEMA, reference

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
    from agents.agent import ALGORITHMS

    assert set(ALGORITHMS) == set(SCHEMA["agent_type"].choices)


def test_every_default_is_allowed():
    for name, key in SCHEMA.items():
        assert key.default is REQUIRED or key.default is None or key.accepts(key.default), name


def test_the_reference_lists_every_key():
    lines = reference().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(SCHEMA)


def test_whole_numbers_are_numbers():
    assert make_trials(config(tau=1, **schedule("eval_schedule", min_start_goal_dis=[30] * 6)))


BAD = {
    "unknown key": (
        config(totaltimesteps=5),
        "unknown key 'totaltimesteps'; did you mean 'total_timesteps'?",
    ),
    "far unknown key": (config(xyzzy=5), "unknown key 'xyzzy'; known keys are seed, "),
    "legacy-looking key": (config(num_procs=5), "unknown key 'num_procs'"),
    "missing key": (config(seed=...), "missing key 'seed'"),
    "missing keys": (config(seed=..., agent_type=...), "missing keys 'seed', 'agent_type'"),
    "missing schedule": (config(eval_schedule=...), "missing key 'eval_schedule'"),
    "unknown agent": (
        config(agent_type="PPO"),
        '\'agent_type\': "PPO" is not allowed; it must be one of "AC-IQN"',
    ),
    "agent case": (config(agent_type="ac-iqn"), "'agent_type'"),
    "agent list": (config(agent_type=["DQN", "PPO"]), '"PPO"'),
    "seed string": (config(seed="a"), "'seed': \"a\" is not allowed; it must be a whole number from 0"),
    "seed negative": (config(seed=-1), "'seed': -1"),
    "seed bool": (config(seed=True), "'seed': true"),
    "seed too large": (config(seed=2**32), "from 0 to 4294967295"),
    "seed in list": (config(seed=[0, 1.5]), "'seed': 1.5"),
    "nested sweep": (config(seed=[[0, 1]]), "'seed': [0, 1]"),
    "null": (config(seed=None), "'seed': null"),
    "empty sweep": (config(seed=[]), "'seed': an empty list is a sweep without trials"),
    "repeated sweep": (config(seed=[0, 0]), "two trials would write into runs/.../seed_0"),
    "no timesteps": (
        config(total_timesteps=0),
        "'total_timesteps': 0 is not allowed; it must be a whole number",
    ),
    "float timesteps": (config(total_timesteps=6e6), "'total_timesteps': 6000000.0"),
    "eval_freq": (config(eval_freq=0), "'eval_freq': 0"),
    "imitation": (config(imitation_learning=True), "'imitation_learning': true is not supported"),
    "imitation type": (
        config(imitation_learning=0),
        "'imitation_learning': 0 is not allowed; it must be true or",
    ),
    "save_dir": (config(save_dir=""), "'save_dir': \"\" is not allowed; it must be a non-empty string"),
    "save_dir number": (config(save_dir=3), "'save_dir': 3"),
    "save_dir control": (config(save_dir="a\0b"), "'save_dir'"),
    "load_model": (config(load_model="/no/such/folder"), "'load_model': \"/no/such/folder\" is not a folder"),
    "schedule list": (config(training_schedule=[1]), "'training_schedule': must be an object"),
    "schedule lengths": (
        config(**schedule("training_schedule", num_robots=[3, 4])),
        "'training_schedule': its lists must be equally long, got timesteps 6, num_robots 2, num_cores 6",
    ),
    "schedule scalar": (
        config(**schedule("eval_schedule", num_robots=3)),
        "'num_robots' must be a non-empty list",
    ),
    "schedule empty": (
        config(**schedule("eval_schedule", num_robots=[])),
        "'num_robots' must be a non-empty list",
    ),
    "schedule key": (
        config(**schedule("eval_schedule", robots=[3] * 6)),
        "unknown key 'robots' in 'eval_schedule'; did you mean 'num_robots'?",
    ),
    "schedule missing": (
        config(training_schedule={"timesteps": [0]}),
        "missing keys 'num_robots', 'num_cores', 'num_obstacles', 'min_start_goal_dis' in ",
    ),
    "no robots": (config(**schedule("training_schedule", num_robots=[0] * 6)), "0 in 'num_robots'"),
    "negative cores": (config(**schedule("eval_schedule", num_cores=[-1] * 6)), "-1 in 'num_cores'"),
    "robots bool": (config(**schedule("eval_schedule", num_robots=[True] * 6)), "true in 'num_robots'"),
    "distance": (config(**schedule("eval_schedule", min_start_goal_dis=[73] * 6)), "from 0 to 72"),
    "stages unsorted": (
        config(**schedule("training_schedule", timesteps=[0, 5, 3, 6, 7, 8])),
        "'timesteps' must ascend, got [0, 5, 3, 6, 7, 8]",
    ),
    "late first stage": (
        config(**schedule("training_schedule", timesteps=[1, 2, 3, 4, 5, 6])),
        "'timesteps' must start with 0, got 1",
    ),
    "no episodes": (
        config(**schedule("eval_schedule", num_episodes=[0] * 6)),
        "'num_episodes' has no episode",
    ),
    "small buffer": (config(buffer_size=64), "'buffer_size': 64 must be above 'batch_size', 64"),
    "odd Rainbow buffer": (
        config(agent_type="Rainbow", buffer_size=1001),
        "'buffer_size': 1001 must be even",
    ),
    "learning rate": (
        config(learning_rate=0),
        "'learning_rate': 0 is not allowed; it must be a number above 0",
    ),
    "infinite": (config(max_grad_norm=1e999), "'max_grad_norm'"),
    "huge": (config(max_grad_norm=10**400), "'max_grad_norm'"),
    "tau": (config(tau=1.5), "above 0 and at most 1"),
    "eps": (config(initial_eps=2), "'initial_eps': 2 is not allowed; it must be a number from 0 to 1"),
    "backend": (config(backend="jax"), 'one of "numpy", "torch"'),
    "num_envs": (config(num_envs=0), "'num_envs': 0"),
    "compile": (config(compile="yes"), "'compile': \"yes\" is not allowed; it must be true or false"),
    "logger": (config(logger="mlflow"), '"csv", "tensorboard", "wandb"'),
    "long value": (config(seed="x" * 500), "..."),
}


@pytest.mark.parametrize(("written", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_config_is_refused_in_one_line(written, message):
    with pytest.raises(ConfigError) as caught:
        make_trials(written)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


BAD_FILES = {
    "empty": (b"", "malformed JSON at line 1 column 1"),
    "cut off": (b'{"seed": [0],', "malformed JSON at line 1"),
    "comment": (b'{"seed": 0 // why\n}', "malformed JSON"),
    "list": (b"[1, 2]", "must hold one JSON object, got [1, 2]"),
    "number": (b"3", "must hold one JSON object, got 3"),
    "not text": (b"\xff\xfe\x00", "is not UTF-8 text"),
    "key twice": (b'{"seed": 0, "seed": 1}', "key 'seed' is given more than once"),
    "NaN": (b'{"tau": NaN}', "NaN is not a number"),
    "deep": (b"[" * 100_000, "malformed JSON: nested too deeply"),
    "digits": (b'{"seed": ' + b"9" * 5000 + b"}", "too many digits"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: No such file or directory"):
        read_config(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_config(tmp_path)


def test_the_small_configs_show_both_modes():
    (fast,) = read_config(CONFIGS / "quickstart.json").trials
    (legacy,) = read_config(CONFIGS / "quickstart_legacy.json").trials
    assert not fast.reproduction
    assert legacy.reproduction
