"""The command that compares policies: its files, its numbers, what it refuses."""

import csv
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from marinenav_env.envs.contract.episode import read_episodes
from marinenav_env.envs.reference import imazu
from scripts import compare_policies
from torchrl_gpu.evaluation import fleets
from torchrl_gpu.evaluation.encounters import meet

SMALL = ["--vessels", "2..3", "--buoys", "0,2", "--vortices", "0", "--episodes", "2", "--encounters", "1"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and short episodes."""
    monkeypatch.setattr(fleets, "EPISODE_LIMIT", 12)
    monkeypatch.chdir(tmp_path)


def test_it_writes_numbers_tables_and_pictures(golden: Path, capsys: pytest.CaptureFixture) -> None:
    model = golden / "agents/checkpoints/DQN"
    arguments = ["goes=ORCA-discrete", f"net={model}", *SMALL]
    assert compare_policies.main([*arguments, "-o", "out"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()] == ["policy", "goes", "net", "out"]
    content = json.loads(Path("out/comparison.json").read_text())
    assert content["settings"]["vessels"] == [2, 3]
    assert list(content["policies"]) == ["goes", "net"]
    goes = content["policies"]["goes"]
    assert goes["source"] == "ORCA-discrete"
    assert goes["total"]["time_out"] == [1.0, pytest.approx(0.6756, abs=1e-4), 1.0, 8]
    assert goes["decision_us"] > 0
    assert goes["reaction_ms"] > 0
    tables = Path("out/comparison.md").read_text()
    assert "| goes | 0.000 ± 0.245 | 0.000 ± 0.245 |" in tables  # by vessels: four episodes each
    assert "| 22 | 0, -45, -90 | 0.00; " in tables
    with open("out/ladder.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], row["vessels"], row["buoys"]) for row in rows[:4]] == [
        ("goes", *cell) for cell in (("2", "0"), ("2", "2"), ("3", "0"), ("3", "2"))
    ]
    assert rows[0]["time_out"] == "1.0"
    assert rows[0]["buoy_gap"] == ""
    with open("out/encounters.csv", newline="") as file:
        cases = [row for row in csv.DictReader(file) if row["policy"] == "net"]
    assert [(row["case"], row["courses"]) for row in cases[:3]] == [("1", "180"), ("2", "-90"), ("3", "0")]
    assert len(cases) == 22
    for name in ("ladder.png", "encounters_goes.png", "encounters_net.png"):
        assert Path("out", name).stat().st_size > 10_000


@pytest.mark.slow
def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # processes of their own play to the end
    monkeypatch.chdir(tmp_path)
    for number, folder in ((1, "one"), (2, "two")):
        assert compare_policies.main(["APF", *SMALL, "-P", str(number), "-o", folder]) == 0
    one, two = (json.loads(Path(folder, "comparison.json").read_text()) for folder in ("one", "two"))
    for content in (one, two):
        content["policies"]["APF"].update(decision_us=0, reaction_ms=0)
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RVO"], "RVO: no such file"),
        (["APF", "APF"], "another policy is called APF; give it a name, NAME=APF"),
        (["APF", "--vessels", "0"], "'0' is not whole numbers from 1 to 100"),
        (["APF", "--buoys", "0,x"], "'0,x' is not whole numbers from 0 to 100"),
        (["APF", "--encounters", "-1"], "--encounters is -1, allowed is 0 to 10000"),
        (["a/b=APF"], "must be a part of a file name"),
        (["APF", "-o", "file"], "file: is a file, not a folder"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    Path("file").touch()
    try:
        status = compare_policies.main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_the_encounters_are_those_of_the_specification() -> None:
    spec = json.loads((Path(__file__).parents[2] / "docs/spec/imazu.json").read_text())
    assert {str(case): courses for case, courses in imazu.COURSES.items()} == spec["cases"]
    episodes = read_episodes(imazu.FILE)
    assert episodes == json.loads(json.dumps(imazu.episodes()))
    for courses, episode in zip(imazu.COURSES.values(), episodes, strict=True):
        assert episode["env"]["num_robots"] == 1 + len(courses)


class Steady:
    """Neither turns nor brakes; see `GoalSeekingAgent`."""

    continuous, GAMMA, dtype = True, 0.99, torch.float32

    def __init__(self) -> None:
        self.learner = self

    def acting_mode(self, use_eval: bool) -> nullcontext:
        return nullcontext()

    def greedy(self, observation: tuple) -> torch.Tensor:
        return torch.zeros(len(observation[0]), 2)


def test_ships_on_their_course_meet_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "EPISODE_LIMIT", 25)  # until shortly before they would meet
    crossing, overtaking = meet(Steady(), imazu.episodes()[1:3], times=1, seed=1)
    for encounter, speeds in ((crossing, [10, 10]), (overtaking, [10, 7])):
        assert encounter.gave_way == []
        assert encounter.asides.max() < 1e-3
        steps = np.linalg.norm(np.diff(encounter.track, axis=0), axis=-1)
        assert steps == pytest.approx(np.broadcast_to(np.array(speeds) / 6, steps.shape), abs=1e-3)
        left = np.linalg.norm(encounter.track[-1] - imazu.MAP_SIZE / 2, axis=-1) / speeds
        assert left[0] == pytest.approx(left[1], abs=1e-3)
