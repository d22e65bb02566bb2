"""The command that trains the legacy experiments: what it trains, what it skips, how it goes on."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from scripts import reproduce
from scripts.tabulating import reproduction
from torchrl_gpu.evaluation import fleets
from torchrl_gpu.runs.folder import is_finished
from torchrl_gpu.torchrl_trainer import TorchRLTrainer

CONFIGS = Path(__file__).parents[2] / "config"
EPISODES = {"num_episodes": [1], "num_robots": [3], "num_cores": [0], "num_obstacles": [0]}
EPISODES["min_start_goal_dis"] = [30.0]
SHORT = ["total_timesteps=64", "eval_freq=32", "learning_starts=16", "batch_size=4", "buffer_size=1000"]
SHORT += [f"eval_schedule={json.dumps(EPISODES)}"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and short evaluations."""
    monkeypatch.setattr(torchrl_gpu.evaluation.one_by_one, "EPISODE_LIMIT", 10)
    monkeypatch.setattr(torchrl_gpu.evaluation.batched, "EPISODE_LIMIT", 10)
    monkeypatch.chdir(tmp_path)


def standing(capsys: pytest.CaptureFixture, *arguments: str) -> list[list[str]]:
    """Agent, seed, state and timesteps of each line of the table of states."""
    capsys.readouterr()
    assert reproduce.main(["--state", *arguments]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    return [[*row[0].split("/seed_"), row[1], row[3]] for row in rows]


@pytest.mark.parametrize("fast", [False, True])
def test_the_configs_are_the_shipped_ones_but_for_what_is_said(fast: bool) -> None:
    args = reproduce.build_parser().parse_args(["--fast"] * fast)
    added = {"checkpoint_every": 300_000, "checkpoint_keep": 1}
    if fast:
        added |= {"num_envs": 256, "backend": "torch", "record_histories": False}
    found = reproduce.trials(args)
    assert [folder.parent.name for folder in found] == list(reproduce.CONFIGS)
    for folder, trial in found.items():
        config = json.loads((CONFIGS / reproduce.CONFIGS[folder.parent.name]).read_text())
        assert trial.reproduction is not fast
        values = {key: value for key, value in trial.values.items() if key != "compile"}
        assert values == config | added | {"seed": 0, "save_dir": "runs/legacy"}


def test_each_agent_has_a_seed_before_another_is_begun(capsys: pytest.CaptureFixture) -> None:
    rows = standing(capsys, "--agents", "DQN,IQN", "seed=0..1")
    assert [row[:3] for row in rows] == [
        [agent, seed, "waiting"] for seed in "01" for agent in ("DQN", "IQN")
    ]


def test_what_was_stopped_goes_on_and_what_is_finished_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["-o", "out", "--agents", "DDPG,DQN", "--fast", "num_envs=8", *SHORT]
    advance = TorchRLTrainer._advance

    def stop(self: TorchRLTrainer, directory: Path) -> None:
        advance(self, directory)
        if directory.parent.name == "DQN" and self.timestep == 40:
            os.kill(os.getpid(), 15)

    with monkeypatch.context() as stopping:
        stopping.setattr(TorchRLTrainer, "_advance", stop)
        assert reproduce.main(arguments) == 1
    assert standing(capsys, *arguments) == [
        ["DDPG", "0", "finished", "72"],
        ["DQN", "0", "interrupted", "32"],
    ]
    seen = []
    monkeypatch.setattr(
        TorchRLTrainer,
        "_advance",
        lambda self, directory: (
            seen.append((directory.parent.name, self.timestep)) or advance(self, directory)
        ),
    )
    assert reproduce.main(arguments) == 0
    assert seen[0] == ("DQN", 40)
    assert {agent for agent, _ in seen} == {"DQN"}
    assert all(is_finished(Path("out", agent, "seed_0")) for agent in ("DDPG", "DQN"))


def test_what_has_begun_goes_on_as_it_began(capsys: pytest.CaptureFixture) -> None:
    arguments = ["-o", "out", "--agents", "DQN", "--fast", *SHORT]
    assert reproduce.main([*arguments, "num_envs=8"]) == 0
    assert reproduce.main([*arguments, "num_envs=4"]) == 0
    assert "out/DQN/seed_0 goes on as it began: num_envs is 8, not 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--agents", "TD3"], "'TD3' is not one of AC-IQN, IQN"),
        (["agent_type=DQN"], "--agents says it"),
        (["save_dir=here"], "-o says it"),
        (["learning_rat=1"], "unknown key 'learning_rat'"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    with suppress(SystemExit):
        assert reproduce.main(arguments) == 2
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_the_table_is_made_of_finished_runs_and_released_models(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(fleets, "EPISODE_LIMIT", 10)
    arguments = ["-o", "out", "--agents", "DQN", "--fast", "num_envs=8", *SHORT]
    assert reproduce.main(arguments) == 0
    results = Path("results")
    results.mkdir()
    pictures = "reproduction_legacy_schedule.png", "reproduction_short.png"
    released = golden / "agents/checkpoints/SAC"
    table = ["-o", "out", "--table", "results", "--fresh", "3", *SHORT]
    assert reproduce.main([*table, "--released", f"SAC={released}", "--beside", "short=out"]) == 0
    data = json.loads((results / "reproduction.json").read_text())
    assert data["episodes"] == {"legacy": 1, "fresh": 3, "seed": 40_503}
    rows = {(row["agent"], row["label"], row["seed"]): row for row in data["models"]}
    assert set(rows) == {
        ("DQN", "legacy schedule", 0), ("SAC", "released", None), ("DQN", "short", 0)
    }  # fmt: skip
    row = rows["DQN", "legacy schedule", 0]
    assert row["legacy"]["episodes"] == 1
    assert row["fresh"]["success"][3] == 3
    lines = (results / "reproduction.md").read_text().splitlines()
    assert "| 1 legacy episodes: success | return | 3 fresh episodes: success |" in lines[0]
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| SAC", "released"], ["| DQN", "legacy schedule"], ["| DQN", "short"]
    ]  # fmt: skip
    curve = (results / "reproduction_curves.csv").read_text().splitlines()
    assert [line.split(",")[:4] for line in curve[1:]] == [
        [label, "DQN", "0", step] for label in ("legacy schedule", "short") for step in ("16", "32", "64")
    ]
    assert all((results / picture).stat().st_size > 10_000 for picture in pictures)

    shutil.rmtree("out")
    shutil.copytree(results, "copy")
    for name in ("reproduction.md", *pictures):
        (results / name).unlink()
    monkeypatch.setattr(reproduction.Judge, "__call__", None)  # nothing is played again
    assert reproduce.main(table) == 0
    for name in ("reproduction.md", "reproduction_curves.csv"):
        assert (results / name).read_text() == Path("copy", name).read_text()
    assert all((results / picture).exists() for picture in pictures)
    assert reproduce.main([*table, "--episode-seed", "3"]) == 2
    assert "is of other episodes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "nowhere"], "--table nowhere: is not an existing folder"),
        (["--table", ".", "--released", "DQN=nothing"], "must be NAME=PATH of what is there"),
        (["--table", ".", "--released", "TD3=."], "'TD3' is not one of AC-IQN"),
        (["--table", ".", "--episode-seed", "253"], "allowed is 0 to 4294967294, but 253"),
    ],
)
def test_a_table_of_nothing_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert reproduce.main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("eval_seed", "chosen"), [(1, "best"), (253, ".")])
def test_a_best_model_counts_where_other_episodes_picked_it(
    eval_seed: int, chosen: str, tmp_path: Path
) -> None:
    (tmp_path / "best").mkdir()
    info = SimpleNamespace(folder=tmp_path, config={"eval_seed": eval_seed})
    assert reproduce.best_or_final(info) == tmp_path / chosen
