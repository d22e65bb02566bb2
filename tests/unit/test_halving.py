"""Trials stopped early because others do better."""

import json
from pathlib import Path

import pytest

from tests.unit.test_config import config
from torchrl_gpu.runs.folder import STOPPED_FILE
from torchrl_gpu.runs.halving import RETURNS, Halving, halving_of, mark_stopped
from torchrl_gpu.runs.listing import list_runs
from torchrl_gpu.runs.resuming import trials_in
from torchrl_gpu.runs.workers import Workers
from torchrl_gpu.settings.parse import ConfigError, make_trials

RATES = {"loguniform": [1e-4, 1e-2]}


def trials_of(samples=4, **keys):
    search = {"learning_rate": RATES, "samples": samples, "scheduler": "asha"}
    return make_trials(config(total_timesteps=64_000, eval_freq=4000, learning_starts=4000, **search, **keys))


class Decides:
    """A scheduler that stops whose return is negative."""

    def __init__(self):
        self.heard = []

    def on_trial_add(self, controller, trial):
        self.heard.append(trial.trial_id)

    def on_trial_result(self, controller, trial, result):
        self.heard.append((result["timestep"], result["return"]))
        return "STOP" if result["return"] < 0 else "CONTINUE"


def evaluated(folder, *values):
    """The folder of a trial with evaluations at timesteps 4000, 8000, ..."""
    path = folder / RETURNS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{4000 * (k + 1)},{value}\n" for k, value in enumerate(values)) + "99")
    return folder


def test_the_scheduler_hears_every_evaluation_once(tmp_path):
    halving, (trial, *_) = Halving(Decides()), trials_of()
    assert not halving.stops(tmp_path, trial)  # nothing yet
    assert not halving.stops(evaluated(tmp_path, 1.0), trial)
    assert not halving.stops(evaluated(tmp_path, 1.0, 2.0), trial)
    assert halving.stops(evaluated(tmp_path, 1.0, 2.0, -1.0), trial)
    assert not halving.stops(tmp_path, trial)
    assert halving.scheduler.heard == [str(tmp_path), (4000, 1.0), (8000, 2.0), (12000, -1.0)]


def test_nobody_is_stopped_at_the_end(tmp_path):
    (trial, *_) = trials_of()
    assert not Halving(Decides()).stops(evaluated(tmp_path, *[1.0] * 15, -1.0), trial)


def test_ray_tune_stops_the_worse(tmp_path):
    pytest.importorskip("ray.tune")
    trials = trials_of(8)
    halving = halving_of(trials)
    stopped = [
        halving.stops(evaluated(tmp_path / trial.name, 10.0 * k), trial)
        for k, trial in zip((8, 1, 2, 3, 4, 5, 6, 7), trials, strict=True)
    ]
    assert stopped[0] is False
    assert sum(stopped) >= 4


def test_without_a_scheduler_none_is_stopped():
    assert halving_of(make_trials(config())) is None


def test_processes_of_this_machine_are_not_stopped_early():
    with pytest.raises(ConfigError, match="key 'scheduler': \"asha\" needs --ray"):
        Workers().check(trials_of(), "cpu")
    with pytest.raises(
        ConfigError, match='key \'scheduler\': "best" is not allowed; it must be "asha" or null'
    ):
        make_trials(config(scheduler="best"))


def test_a_stopped_trial_says_so(tmp_path):
    folder = evaluated(tmp_path, 1.0, 2.0)
    (folder / "trial_config.json").write_text(json.dumps(trials_of()[0].values))
    (folder / ".lock").touch()
    mark_stopped(folder)
    assert json.loads((folder / STOPPED_FILE).read_text()) == {"timestep": 8000}
    assert [info.state for info in list_runs([tmp_path])] == ["stopped"]
    assert list(trials_in(tmp_path)) == [Path(tmp_path)]
