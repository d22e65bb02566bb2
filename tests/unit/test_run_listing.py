"""Lists of runs and comparisons, over folders as trainings leave them."""

import json

import pytest

from scripts import compare as compare_script
from scripts import runs as runs_script
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.runs.comparison import compare
from torchrl_gpu.runs.folder import locked, mark_finished
from torchrl_gpu.runs.listing import COLUMNS, list_runs


def make_trial(folder, successes, **config):
    """A trial evaluated every 10 timesteps, two episodes each; ``successes`` per evaluation."""
    folder.mkdir(parents=True)
    values = {"seed": 0, "agent_type": "DQN", "total_timesteps": 30, "eval_freq": 10, "save_dir": str(folder)}
    (folder / "trial_config.json").write_text(json.dumps(values | config))
    record = EvaluationRecord()
    for k, number in enumerate(successes):
        results = [EpisodeResult(float(number), i < number, 9.0, 5.0, [], [], []) for i in range(2)]
        record.append(10 * (k + 1), results)
    if successes:
        record.save(folder)
    speed = folder / "csv" / "scalars" / "speed" / "timesteps_per_second.csv"
    speed.parent.mkdir(parents=True)
    speed.write_text("5,100.0\n12,200.0\n1")
    return folder


@pytest.fixture
def runs(tmp_path):
    one = make_trial(tmp_path / "runs" / "a" / "seed_0", [0, 2, 1])
    (one / ".lock").touch()
    mark_finished(one, 31, 7)
    two = make_trial(tmp_path / "runs" / "a" / "seed_1", [1, 1], seed=1)
    (two / ".lock").touch()
    (two / "failure.txt").write_text("Traceback")
    make_trial(tmp_path / "runs" / "b" / "seed_0", [], agent_type="SAC", learning_rate=0.001)
    return tmp_path / "runs"


def test_how_each_run_stands(runs):
    one, two, three = list_runs([runs])
    assert (one.state, one.timesteps, one.last, one.best) == ("finished", 31, 0.5, 1.0)
    assert (two.state, two.timesteps, two.last, two.speed) == ("failed", 20, 0.5, 200.0)
    assert (three.state, three.agent, three.timesteps, three.last) == ("interrupted", "SAC", 12, None)
    assert one.changed == {"seed": 0, "agent_type": "DQN"}
    assert three.changed == {"seed": 0, "agent_type": "SAC", "learning_rate": 0.001}
    with locked(two.folder):
        assert list_runs([two.folder])[0].state == "running"


def test_a_legacy_run_is_finished_by_its_last_evaluation(tmp_path):
    make_trial(tmp_path / "whole", [1, 1, 1])
    make_trial(tmp_path / "half", [1, 1])
    assert [info.state for info in list_runs([tmp_path])] == ["interrupted", "finished"]


def test_the_table_is_sorted(runs, capsys):
    assert runs_script.main([str(runs), "--sort", "last"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == list(COLUMNS)
    assert lines[-1].split()[1:] == [
        *("interrupted", "SAC", "12", "30", "200", "-", "-"),
        *("seed=0", "agent_type=SAC", "learning_rate=0.001"),
    ]


def test_json(runs, capsys):
    assert runs_script.main([str(runs / "b"), "--json"]) == 0
    [info] = json.loads(capsys.readouterr().out)
    assert (info["state"], info["timesteps"]) == ("interrupted", 12)


def test_seeds_are_one_side(runs, capsys):
    comparison = compare([runs / "a", runs / "b"])
    assert [len(side.trials) for side in comparison.sides] == [2, 1]
    assert comparison.differing == {"agent_type": ["DQN", "SAC"], "learning_rate": [None, 0.001]}
    assert comparison.curves == [{10: (0.25, 0.5), 20: (0.75, 1.5)}, {}]
    assert compare_script.main([str(runs / "a"), str(runs / "b")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"A  {runs / 'a'}  (2 seed(s))"
    assert ["learning_rate", "-", "0.001"] in [line.split() for line in out]
    assert ["20", "0.75", "1.50", "-"] in [line.split() for line in out]


@pytest.mark.parametrize("main", [runs_script.main, compare_script.main])
def test_folders_without_runs_are_named(main, tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert f"{tmp_path}: no trial_config.json in this folder or below it" in capsys.readouterr().err


def test_nothing_to_compare_with(runs, capsys):
    assert compare_script.main([str(runs / "a")]) == 2
    assert "give another run to compare it with" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trial_config.json", "evaluations.npz"])
def test_files_that_cannot_be_read_are_named(name, runs, capsys):
    path = runs / "a" / "seed_0" / name
    path.write_text("[")
    assert runs_script.main([str(runs)]) == 2
    assert str(path) in capsys.readouterr().err
