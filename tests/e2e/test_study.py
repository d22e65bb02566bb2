"""A study: several seeds trained, each evaluated on episodes that its training has not seen."""

import json
import os

import pytest

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from scripts import marinenav, study
from tests.e2e.test_train_cli import SMALL
from torchrl_gpu import api
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.torchrl_trainer import TorchRLTrainer


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 10)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    return ["study", "-C", "config.json", "seed=0,1", "-o", "study", "--episodes", "5"]


def test_each_seed_plays_fresh_episodes_and_is_trained_once(arguments, tmp_path, monkeypatch, capsys):
    played = []
    play = BatchedEvaluation.__init__
    monkeypatch.setattr(
        BatchedEvaluation,
        "__init__",
        lambda self, agent, episodes, *args, **keys: (
            played.append(episodes) or play(self, agent, episodes, *args, **keys)
        ),
    )
    assert marinenav.main(arguments) == 0
    capsys.readouterr()
    report = json.loads((tmp_path / "study" / "study.json").read_text())
    assert [seed["seed"] for seed in report["seeds"]] == [0, 1]
    assert [seed["episodes"] for seed in report["seeds"]] == [5, 5]
    assert played[0] == played[1]
    own = json.loads((tmp_path / report["seeds"][0]["folder"] / "eval_configs.json").read_text())
    assert not any(episode in played[0] for episode in own)

    finished = [tmp_path / seed["folder"] / "finished.json" for seed in report["seeds"]]
    before = [path.stat().st_mtime_ns for path in finished]
    assert marinenav.main(arguments) == 0
    shown = capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in finished] == before
    assert shown.startswith("2 of 2 trials are finished\n| seed | success | return | minutes |\n")
    returns = [seed["mean_return"] for seed in report["seeds"]]
    error = abs(returns[0] - returns[1]) / 2
    assert f" | {sum(returns) / 2:.2f} ± {error:.2f} | " in shown
    assert f"| worst | 0.000 | {min(returns):.2f} | " in shown
    assert (tmp_path / "study" / "study.md").read_text() in shown


def test_the_best_model_plays_legacy_episodes_too(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "LEGACY_PER_STAGE", 2)
    keys = ["num_envs=2", "eval_seed=1"]
    assert marinenav.main([*arguments, *keys, "--best", "--legacy"]) == 0
    assert (
        "| seed | success | return | legacy episodes: success | return | minutes |" in capsys.readouterr().out
    )
    row = json.loads((tmp_path / "study" / "study.json").read_text())["seeds"][1]
    assert (row["episodes"], row["legacy_episodes"]) == (5, 2)
    best = api.evaluate(tmp_path / row["folder"] / "best", SMALL, per_stage=2)
    assert row["legacy_mean_return"] == best.metrics.mean_return


def test_an_interrupted_study_goes_on_with_the_same_command(arguments, monkeypatch, capsys):
    advance = TorchRLTrainer._advance

    def stop(self, directory):
        advance(self, directory)
        if self.timestep == 20:
            os.kill(os.getpid(), 15)

    with monkeypatch.context() as patch:
        patch.setattr(TorchRLTrainer, "_advance", stop)
        assert marinenav.main(arguments) == 1
    assert "marinenav study: failed: not all seeds are trained; the same" in capsys.readouterr().err
    assert marinenav.main(arguments) == 0
    assert capsys.readouterr().out.startswith("0 of 2 trials are finished\n")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["tau=0.1,0.2"], "key 'tau' has several values; the trials of a study differ in the seed only"),
        (
            ["--episode-seed", "253"],
            "--episode-seed 253 is not allowed; it must be from 0 to 4294967295, and",
        ),
        (["--best"], "--best: in reproduction mode a run keeps its final model only"),
        (["--best", "--legacy", "num_envs=2"], "--best with --legacy: eval_seed is 253, so the legacy"),
        (["sed=1"], "unknown key 'sed'; did you mean 'seed'?"),
        (["-o", "config.json"], "config.json: is a file, not a folder"),
    ],
)
def test_what_cannot_be_studied_is_refused(arguments, more, says, capsys, tmp_path):
    assert marinenav.main([*arguments, *more]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "config.json"]


def test_a_study_of_another_config_is_not_mixed_in(arguments, tmp_path, capsys):
    run = tmp_path / "study" / "training_STAMP"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(SMALL | {"seed": [0, 1], "save_dir": "study", "tau": 0.2}))
    assert marinenav.main(arguments) == 2
    assert "study: holds a run that differs in tau; give another folder" in capsys.readouterr().err
