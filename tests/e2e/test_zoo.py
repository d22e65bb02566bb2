"""The zoo: every policy that is shipped plays as its score says, and a trained run can join it."""

import json
from pathlib import Path

import pytest

import models
from scripts import evaluate, view_episode, zoo
from tests.e2e.test_evaluate import write_config
from torchrl_gpu import api, train_torchrl_gpu
from torchrl_gpu.evaluation import batched, one_by_one

MOST_BYTES = 2_000_000


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty zoo in which a score takes a moment: few episodes, of at most 40 steps."""
    for module in (one_by_one, batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 39)
    root = tmp_path / "zoo"
    root.mkdir()
    monkeypatch.setattr(models, "ROOT", root)
    monkeypatch.setattr(zoo, "LEGACY_PER_STAGE", 1)
    monkeypatch.setattr(zoo, "FRESH_PER_STAGE", 2)
    return root


@pytest.fixture
def trial(own_zoo: Path, tmp_path: Path) -> Path:
    """Folder of a finished trial."""
    assert train_torchrl_gpu.main(["-C", str(write_config(tmp_path, agent_type="DQN")), "--quiet"]) == 0
    (folder,) = (tmp_path / "runs").glob("training_*/seed_0")
    return folder


def test_a_trained_run_joins_and_is_listed_evaluated_and_shown(
    own_zoo: Path, trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert zoo.main(["--take", str(trial), "--name", "dqn"]) == 0
    score = json.loads((own_zoo / "dqn" / "score.json").read_text())
    assert (score["legacy"]["episodes"], score["fresh"]["episodes"]) == (2, 4)
    name, agent, *numbers = capsys.readouterr().out.splitlines()[-3].split()
    assert (name, agent) == ("dqn", "DQN")
    assert float(numbers[1]) == pytest.approx(score["legacy"]["mean_return"], abs=6e-4)
    curve = (own_zoo / "dqn" / "curve.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in curve] == ["timestep", "25", "30"]
    report = tmp_path / "report.json"
    assert evaluate.main(["--zoo", "dqn", "--per-stage", "1", "-o", str(report)]) == 0
    assert json.loads(report.read_text())["total"]["mean_return"] == score["legacy"]["mean_return"]
    picture = tmp_path / "episode.png"
    assert view_episode.main(["--zoo", "dqn", "-o", str(picture)]) == 0
    assert picture.stat().st_size > 10_000


def test_what_cannot_join_is_refused_in_one_line(
    own_zoo: Path, trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for arguments, words in (
        (["--take", str(trial)], "belong together"),
        (["--take", str(tmp_path), "--name", "a"], "trial_config.json"),
        (["--take", str(trial), "--name", "../a"], "letters, digits"),
    ):
        assert zoo.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not list(own_zoo.iterdir())
    assert evaluate.main(["--zoo", "dqn", "-o", str(tmp_path / "report.json")]) == 2
    assert "no policy yet" in capsys.readouterr().err


def legacy_score(name: str, stages: slice, per_stage: int) -> tuple[list, dict]:
    """Results of a policy of the zoo on legacy episodes, and the score that came with it."""
    folder = models.folder(name)
    config = json.loads((folder / "config.json").read_text())
    schedule = {key: column[stages] for key, column in config["eval_schedule"].items()}
    schedule["num_episodes"] = [per_stage] * len(schedule["num_episodes"])
    played = api.evaluate(folder, config | {"eval_schedule": schedule})
    return played, json.loads((folder / "score.json").read_text())["legacy"]


@pytest.mark.parametrize("name", models.names())
def test_a_policy_of_the_zoo_is_small_and_arrives(name: str) -> None:
    assert sum(path.stat().st_size for path in models.folder(name).iterdir()) < MOST_BYTES
    played, _ = legacy_score(name, slice(1), 4)
    assert played.metrics.success_rate >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_a_policy_of_the_zoo_scores_what_it_says(name: str) -> None:
    played, score = legacy_score(name, slice(None), 10)
    # Float32 sums differ from machine to machine, and a long episode amplifies that.
    assert played.metrics.success_rate == pytest.approx(score["success_rate"], abs=0.051)
    assert played.metrics.mean_return == pytest.approx(score["mean_return"], abs=1.5)
