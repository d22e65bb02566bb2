"""Ranges in a config: what is drawn from them, and what is refused."""

import math

import pytest

from tests.unit.test_config import config
from torchrl_gpu.settings import reference
from torchrl_gpu.settings.parse import ConfigError, make_trials

RATES = {"loguniform": [1e-4, 1e-2]}


def test_trials_have_values_from_the_ranges():
    trials = make_trials(config(
        learning_rate=RATES, batch_size={"uniform": [16, 256]}, tau={"choice": [0.5, 1.0]}, samples=40
    ))  # fmt: skip
    assert len(trials) == 40
    rates = [trial.learner.learning_rate for trial in trials]
    assert min(rates) >= 1e-4
    assert max(rates) <= 1e-2
    assert 0.2 < sum(rate < 1e-3 for rate in rates) / 40 < 0.8  # as many in each decade
    assert all(type(trial.replay.batch_size) is int for trial in trials)
    assert {trial.learner.tau for trial in trials} == {0.5, 1.0}
    assert "samples" not in trials[0].values


def test_the_same_config_draws_the_same_and_another_seed_something_else():
    first, again, other = (
        [
            trial.learner.learning_rate
            for trial in make_trials(config(seed=seed, learning_rate=RATES, samples=5))
        ]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_every_value_is_tried_with_every_seed_in_a_folder_of_its_own():
    trials = make_trials(config(seed=[3, 4], learning_rate=RATES, samples=3))
    assert len({trial.name for trial in trials}) == 6
    assert trials[0].name == f"seed_3_learning_rate_{trials[0].learner.learning_rate}"
    assert len({trial.learner.learning_rate for trial in trials}) == 3


def test_a_trial_of_a_search_can_be_read_again():
    for trial in make_trials(config(learning_rate=RATES, samples=2)):
        (again,) = make_trials(trial.values)
        assert again.identity == trial.identity


def test_numbers_have_few_digits():
    for trial in make_trials(config(learning_rate=RATES, samples=20)):
        rate = trial.learner.learning_rate
        assert math.isclose(rate, float(f"{rate:.3e}"), rel_tol=0)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"learning_rate": {"normal": [0, 1]}, "samples": 2},
            "key 'learning_rate': .* is no range; it must be",
        ),
        ({"learning_rate": {}, "samples": 2}, "key 'learning_rate': {} is no range"),
        (
            {"learning_rate": {"uniform": [1, 0]}, "samples": 2},
            "'uniform' must be two ascending numbers, got",
        ),
        ({"learning_rate": {"uniform": 1}, "samples": 2}, "'uniform' must be two ascending numbers, got 1"),
        (
            {"learning_rate": {"loguniform": [0, 1]}, "samples": 2},
            r"'loguniform' must be above 0, got \[0, 1\]",
        ),
        (
            {"learning_rate": {"uniform": [0.1, 3]}, "samples": 2},
            "key 'learning_rate': 3 is not allowed; it mu",
        ),
        ({"tau": {"choice": []}, "samples": 2}, "key 'tau': 'choice' must be a non-empty list, got"),
        (
            {"tau": {"choice": [0.5, "x"]}, "samples": 2},
            "key 'tau': \"x\" is not allowed; it must be a number",
        ),
        ({"tau": {"choice": [0.5, 1]}, "samples": 3}, "key 'samples': 3 are more than the ranges have, 2"),
        ({"agent_type": {"uniform": [0, 1]}, "samples": 2}, "key 'agent_type'"),
        (
            {"backend": {"uniform": [0, 1]}, "samples": 2},
            "key 'backend': 'uniform' is for numbers; give its va",
        ),
        (
            {"learning_rate": RATES},
            "key 'learning_rate': it needs values of 'samples', how many are to be drawn",
        ),
        ({"samples": 3}, "key 'samples': it needs a range"),
        (
            {"samples": "x", "tau": {"choice": [1, 0.5]}},
            "key 'samples': \"x\" is not allowed; it must be a who",
        ),
        (
            {"learning_rate": RATES, "samples": 6000, "seed": [0, 1]},
            "the lists make 12000 trials, at most 10000",
        ),
    ],
)
def test_bad_ranges_are_refused_in_one_line(keys, line):
    with pytest.raises(ConfigError, match=line):
        make_trials(config(**keys))


def test_editors_know_ranges():
    schema = reference.json_schema()
    for name, kind in (("tau", "range"), ("batch_size", "range"), ("backend", "choice")):
        assert schema["properties"][name]["anyOf"][-1] == {"$ref": f"#/$defs/{kind}"}
    assert set(schema["$defs"]["range"]["properties"]) == {"uniform", "loguniform", "choice"}
    assert set(schema["$defs"]["choice"]["properties"]) == {"choice"}
