"""The command that asks a critic what it expects: its table, its file, what it refuses."""

import csv
import json
from pathlib import Path

import pytest

import models
from scripts import beliefs
from torchrl_gpu.evaluation import fleets
from torchrl_gpu.evaluation.beliefs import BEFORE


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and short episodes."""
    monkeypatch.setattr(fleets, "EPISODE_LIMIT", 12)
    monkeypatch.chdir(tmp_path)


def test_it_prints_a_table_and_writes_it(capsys: pytest.CaptureFixture) -> None:
    assert beliefs.main(["ac_iqn", "--per-stage", "1", "-o", "beliefs.csv"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["vessels", "that", "number", "steps", "before", "expected", "came", "error"]
    with open("beliefs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["before"]) for row in rows] == [n for n in BEFORE if n <= 13]
    assert {(row["ending"], row["vessels"]) for row in rows} == {("out of time", "27")}
    assert all(float(row["expected"]) > 5 > float(row["came"]) for row in rows if row["before"] == "1")


def test_rewards_are_those_that_the_policy_learned_with() -> None:
    episodes = [{"env": {"collision_penalty": -5.0, "width": 55}, "robots": {}}]
    (episode,) = beliefs.with_rewards(episodes, {"collision_penalty": -10.0})
    assert episode == {"env": {"collision_penalty": -10.0, "width": 55}, "robots": {}}
    assert episodes[0]["env"]["collision_penalty"] == -5.0
    trial = beliefs.trial_of(models.folder("ac_iqn"), None)
    assert trial.world.rewards["collision_penalty"] == -10.0


def test_the_folder_of_a_trial_says_what_it_learned_from(tmp_path: Path) -> None:
    config = json.loads((models.folder("dqn") / "config.json").read_text())
    best = tmp_path / "seed_0/best"
    best.mkdir(parents=True)
    (best.parent / "trial_config.json").write_text(json.dumps(config | {"discount": 0.9}))
    assert beliefs.trial_of(best, None)["discount"] == 0.9
    assert beliefs.trial_of(best.parent, None)["discount"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["file.pt"], "file.pt: a file holds the acting network alone; give a model folder"),
        (["bare"], "bare: no config beside the model; give one with -C"),
        (["dqn", "-C", "none.json"], "none.json"),
        (["dqn", "--per-stage", "0"], "--per-stage"),
    ],
)
def test_bad_usage_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    Path("file.pt").write_bytes(b"")
    Path("bare").mkdir()
    for name in ("constructor_params.json", "network_params.pth"):
        Path("bare", name).write_bytes((models.folder("dqn") / name).read_bytes())
    try:
        status = beliefs.main(arguments)
    except SystemExit as exit:
        status = exit.code
    assert status == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
