"""The quickstart: train, a picture of an episode, and what to try next."""

import json
from pathlib import Path

import pytest
from PIL import Image

import config
import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from scripts import marinenav
from scripts.quickstart import closest_encounter
from tests.e2e.test_train_cli import SMALL
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.record import EvaluationRecord


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a quickstart that takes a moment."""
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 10)
    (tmp_path / "config").mkdir()
    small = SMALL | {"agent_type": "AC-IQN", "cvar": 0.75}
    (tmp_path / "config" / "quickstart.json").write_text(json.dumps(small))
    monkeypatch.setattr(config, "__file__", str(tmp_path / "config" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_trains_draws_and_names_two_commands_that_work(here, capsys):
    assert marinenav.main(["quickstart"]) == 0
    assert marinenav.main(["quickstart", "seed=4"]) == 0  # leaves what the first one wrote
    shown = capsys.readouterr()
    assert shown.err == ""
    first, second = sorted(here.glob("runs/training_*"))
    for picture in (first / "seed_3" / "episode.png", second / "seed_4" / "episode.png"):
        assert f"\n{picture.relative_to(here)}: Episode " in shown.out
        assert Image.open(picture).width == 1440
    told = shown.out.partition("To try next:\n")[2].splitlines()
    play, change = (line.strip() for line in told[:3:2])
    assert play.startswith("marinenav view runs/training_")
    assert change == "marinenav train -C config/quickstart.json seed=1 cvar=0.5"
    for command in (play, change):
        assert marinenav.main(command.split()[1:]) == 0
    assert Path("episode.html").is_file()


def test_what_cannot_be_trained_draws_nothing(here, capsys):
    assert marinenav.main(["quickstart", "cvar=2"]) == 2
    assert capsys.readouterr().err.startswith("marinenav quickstart: error: config/quickstart.json cvar=2: ")
    assert [path.name for path in here.iterdir()] == ["config"]


def test_the_episode_shown_is_the_closest_encounter_that_went_well():
    def episode(success, gap):
        ways = [[[x, y, *[0.0] * 11] for x in range(steps)] for y, steps in ((0.0, 4), (gap, 2))]
        return EpisodeResult(0.0, success, 0.0, 0.0, [], [], ways)

    record = EvaluationRecord()
    record.append(1, [episode(True, 1.0), episode(True, 9.0)])
    record.append(2, [episode(True, 9.0), episode(False, 1.0), episode(True, 5.0)])
    assert closest_encounter(record) == 2
    record.append(3, [episode(False, 9.0), episode(False, 1.0)])
    assert closest_encounter(record) == 1
