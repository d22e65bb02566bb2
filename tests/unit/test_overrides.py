"""Keys on the command line: how they are read, and that they win over the file."""

import json
from pathlib import Path

import pytest

from torchrl_gpu.settings.errors import ConfigError
from torchrl_gpu.settings.overrides import fast_keys, parse_overrides
from torchrl_gpu.settings.parse import read_config

CONFIG = json.loads((Path(__file__).parents[2] / "config" / "ac_iqn.json").read_text(encoding="utf-8"))

VALUES = {
    "3": 3,
    "0.5": 0.5,
    "1e-4": 1e-4,
    "true": True,
    "null": None,
    "DQN": "DQN",
    '"3"': "3",
    "runs/a": "runs/a",
    "0,1,2": [0, 1, 2],
    "DQN,AC-IQN": ["DQN", "AC-IQN"],
    "true,false": [True, False],
    "1e-4,5e-4": [1e-4, 5e-4],
    "0..3": [0, 1, 2, 3],
    "7..7": [7],
    "0..1,5": [0, 1, 5],
    "[0, 1]": [0, 1],
    '{"timesteps": [0]}': {"timesteps": [0]},
    '"a,b"': "a,b",
    "a=b": "a=b",
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_json_a_range_a_list_or_text(text):
    assert parse_overrides([f"key={text}"]) == {"key": VALUES[text]}


def test_a_power_of_ten_is_a_whole_number():
    values = parse_overrides(["steps=1e5", "rate=1e-4", "share=1.0", "large=1e300", "list=1e3,2e3"])
    assert [type(values[key]) for key in ("steps", "rate", "share", "large")] == [int, float, float, float]
    assert values["steps"] == 100_000
    assert values["list"] == [1000, 2000]


@pytest.mark.parametrize("argument", ["seed", "=3", "seed="])
def test_an_argument_that_is_no_key_and_value_is_refused(argument):
    with pytest.raises(ConfigError, match=f"^argument '{argument}': it must be key=value$"):
        parse_overrides([argument])


def test_a_key_twice_is_refused():
    with pytest.raises(ConfigError, match=r"^argument 'seed=2': key 'seed' is given more than once$"):
        parse_overrides(["seed=1", "seed=2"])


@pytest.mark.parametrize("text", ["3..1", "0..999999999"])
def test_a_range_ascends_and_is_no_slip(text):
    with pytest.raises(ConfigError, match=f"^range '{text}': it must ascend, by less than 10000$"):
        parse_overrides([f"seed={text}"])


def test_fast_keys_suit_the_device_and_the_length():
    assert fast_keys("cuda:1") == {"num_envs": 1024, "backend": "torch", "compile": "auto"}
    assert fast_keys("cpu") == {"num_envs": 256, "backend": "torch", "compile": "auto"}


def test_arguments_win_over_the_file_which_wins_over_fast(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | {"num_envs": 8, "tau": 0.5}), encoding="utf-8")
    written, trials = read_config(path, ["tau=0.25", "seed=0..1", "agent_type=DQN,SAC"], "cpu")
    assert {key: written[key] for key in ("tau", "num_envs", "backend")} == {
        "tau": 0.25,
        "num_envs": 8,
        "backend": "torch",
    }
    assert [trial.name for trial in trials] == [
        f"seed_{seed}_agent_type_{kind}" for seed in (0, 1) for kind in ("DQN", "SAC")
    ]
    assert not trials[0].reproduction


def test_a_bad_argument_is_named_with_the_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config.json tua=1: unknown key 'tua'; did you mean 'tau'\?$"):
        read_config(path, ["tua=1"])
    with pytest.raises(ConfigError, match=r"config.json tau=2: key 'tau': 2 is not allowed; it must be"):
        read_config(path, ["tau=2"])
