"""The viewing scripts as a user runs them: pictures of every kind, exit statuses, one line for bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from agents.evaluation import EpisodeResult
from agents.evaluation_record import EvaluationRecord
from scripts import (
    plot_training_results,
    view_episode,
    view_scenario,
    view_vrx_trajectory,
    vrx_experiment_config,
)
from tests.unit.recordings import golden_episode
from torchrl_gpu import __version__

SCRIPTS = (plot_training_results, view_episode, view_scenario, view_vrx_trajectory, vrx_experiment_config)


@pytest.fixture(scope="module")
def trial(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trial folder with two evaluations of one recorded episode."""
    folder = tmp_path_factory.mktemp("run") / "seed_0"
    folder.mkdir()
    episode = golden_episode(golden)
    robots = episode["robots"]
    result = EpisodeResult(
        reward=12.0,
        success=True,
        time=33.5,
        energy=20000.0,
        observations=robots["observation_history"],
        actions=robots["action_history"],
        trajectories=robots["trajectory"],
    )
    record = EvaluationRecord()
    record.append(2000, [result])
    record.append(60000, [result])
    record.save(folder)
    (folder / "eval_configs.json").write_text(json.dumps([episode]))
    (folder / "trial_config.json").write_text(json.dumps({"seed": 0, "agent_type": "AC-IQN"}))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, as relative and default output names do."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_learning_curves(trial: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    assert plot_training_results.main([f"ours={trial.parent}"]) == 0
    assert "ours: final success rate of seed 0: 1.00" in capsys.readouterr().out
    assert Image.open(here / "learning_curves.png").width > 800


def test_scenario_sheet_of_any_number(trial: Path, golden: Path, here: Path) -> None:
    configs = str(golden / "noise_free/noise_free_configs.json")
    for name, arguments in (
        ("one.png", [str(trial / "eval_configs.json")]),
        ("six.png", [configs, "--episodes", "0", "1", "2", "5", "-1", "0", "--columns", "3"]),
        ("one.svg", [configs, "-e", "7"]),
    ):
        assert view_scenario.main([*arguments, "--dpi", "40", "--output", name]) == 0
        assert (here / name).stat().st_size > 5000


def test_episode_as_still_animation_and_page(trial: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [str(trial), "--robots", "1", "--width", "480", "--every", "43", "--no-arrows"]
    for name in ("a.png", "a.gif", "a.html"):
        assert view_episode.main([*arguments, "--output", name]) == 0
        out = capsys.readouterr().out
        assert "Episode 0 of evaluation 1 (timestep 60 000)" in out
        assert "all robots arrived, 43.0 s" in out
    assert Image.open(here / "a.png").size == (480, 270)
    assert Image.open(here / "a.gif").n_frames == 3
    assert "<button" in (here / "a.html").read_text()


def test_episode_with_the_returns_of_a_quantile_agent(trial: Path, golden: Path, here: Path) -> None:
    """The distribution panel changes the picture; torch's generator is left as it was."""
    import torch

    state = torch.get_rng_state()
    model = str(golden / "agents/checkpoints/AC-IQN")
    for name, more in (("without.png", []), ("with.png", ["--model", model])):
        assert view_episode.main([str(trial), "--step", "20", "--width", "480", *more, "-o", name]) == 0
    assert (here / "with.png").read_bytes() != (here / "without.png").read_bytes()
    assert torch.equal(torch.get_rng_state(), state)


def test_discrete_quantile_agent_shows_all_its_actions(trial: Path, golden: Path) -> None:
    import numpy as np

    from scripts.drawing.quantiles import load_quantile_agent, return_distribution
    from scripts.drawing.recording import read_recording

    recording = read_recording(trial)
    recording.actions[0] = [k % 25 for k in range(len(recording.actions[0]))]
    agent = load_quantile_agent(golden / "agents/checkpoints/IQN")
    found = return_distribution(agent, recording, 0)
    assert found.others.shape == (86, 64, 25)
    np.testing.assert_array_equal(found.chosen[30], found.others[30, :, 5])
    assert (np.diff(found.chosen, axis=1) >= 0).all()


def test_vrx_config_and_trajectory(here: Path) -> None:
    assert vrx_experiment_config.main([]) == 0
    config = json.loads((here / "vrx_exp_config.json").read_text())
    assert len(config["robots"]["start"]) == 5
    assert len(config["env"]["obstacles"]["positions"]) == 3
    names = [f"wamv{k + 1}" for k in range(5)]
    record = {
        "timestamps": {name: [0.0, 0.5, 1.0, 1.5] for name in names},
        "poses": {
            name: [[-480.0 + k, 240.0 + i, 0, 0, 0, 1] for k in range(4)] for i, name in enumerate(names)
        },
        "velocities": {name: [[1.0, 0.0]] * 4 for name in names},
    }
    (here / "vrx_exp_traj.json").write_text(json.dumps(record))
    assert view_vrx_trajectory.main([".", "--steps", "1", "-1"]) == 0
    assert Image.open(here / "vrx_episode_section.png").width > 500


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.NAME)
def test_help_has_examples_and_version_is_the_projects(script, capsys: pytest.CaptureFixture) -> None:
    for option, expected in (("--help", "examples:"), ("--version", __version__)):
        with pytest.raises(SystemExit) as end:
            script.main([option])
        assert end.value.code == 0
        assert expected in capsys.readouterr().out


BAD: dict[str, tuple[Callable, list[str], str]] = {
    "curves of nothing": (plot_training_results.main, ["nowhere"], "nowhere: no such folder"),
    "curves of an empty folder": (plot_training_results.main, ["."], "no evaluations.npz in this folder"),
    "curves to a text file": (plot_training_results.main, ["{trial}", "-o", "a.txt"], "must end in .png"),
    "curves to a missing folder": (
        plot_training_results.main,
        ["{trial}", "-o", "b/a.png"],
        "does not exist",
    ),
    "scenario missing": (view_scenario.main, ["nowhere.json"], "nowhere.json: no such file"),
    "scenario a folder": (view_scenario.main, ["."], "is a folder, not a file"),
    "scenario not JSON": (view_scenario.main, ["{golden}/env/README.md"], "README.md"),
    "scenario something else": (view_scenario.main, ["{golden}/agents/config.json"], "config.json"),
    "scenario index": (
        view_scenario.main,
        ["{trial}/eval_configs.json", "-e", "3"],
        "--episodes 3 does not exist",
    ),
    "scenario columns": (view_scenario.main, ["{trial}/eval_configs.json", "-c", "0"], "--columns 0"),
    "scenario dpi": (view_scenario.main, ["{trial}/eval_configs.json", "--dpi", "5"], "--dpi 5"),
    "episode missing": (view_episode.main, ["nowhere"], "nowhere: no such file or folder"),
    "episode of no trial": (view_episode.main, ["."], "eval_configs.json: no such file"),
    "episode evaluation": (view_episode.main, ["{trial}", "-E", "2"], "--evaluation 2 does not exist"),
    "episode index": (view_episode.main, ["{trial}", "-e", "-2"], "--episode -2 does not exist"),
    "episode robot": (view_episode.main, ["{trial}", "-r", "3"], "--robots 3 does not exist"),
    "episode step": (view_episode.main, ["{trial}", "-s", "87"], "allowed are -87 to 86"),
    "episode width": (view_episode.main, ["{trial}", "--width", "5"], "--width 5: must be 400 to 4000"),
    "episode model missing": (view_episode.main, ["{trial}", "-m", "no"], "no: no such folder"),
    "episode model of nothing": (view_episode.main, ["{trial}", "-m", "."], "not a model folder"),
    "episode model without quantiles": (
        view_episode.main,
        ["{trial}", "-m", "{golden}/agents/checkpoints/SAC"],
        "a SAC model has no return quantiles; AC-IQN and IQN have",
    ),
    "episode model of other actions": (
        view_episode.main,
        ["{trial}", "-m", "{golden}/agents/checkpoints/IQN"],
        "whose actions are discrete",
    ),
    "vrx too many": (vrx_experiment_config.main, ["--robots", "40"], "--robots 40: only"),
    "vrx seed": (vrx_experiment_config.main, ["--seed", "-1"], "--seed -1: must be 0 to"),
    "vrx folder": (view_vrx_trajectory.main, ["nowhere"], "nowhere: no such folder"),
    "vrx without files": (view_vrx_trajectory.main, ["."], "vrx_exp_config.json: no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(
    case: str, trial: Path, golden: Path, here: Path, capsys: pytest.CaptureFixture
) -> None:
    main, arguments, message = BAD[case]
    assert main([argument.format(trial=trial, golden=golden) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


def test_run_without_histories_says_so(trial: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    record = EvaluationRecord()
    record.append(10, [EpisodeResult(1.0, True, 2.0, 3.0, [], [], [])])
    record.save(here)
    (here / "eval_configs.json").write_bytes((trial / "eval_configs.json").read_bytes())
    assert view_episode.main(["."]) == 2
    assert "evaluations.npz: holds no histories" in capsys.readouterr().err
    assert plot_training_results.main(["."]) == 0


VRX_BROKEN = {
    "no robot": lambda record: record["poses"].pop("wamv2"),
    "poses of five": lambda record: record["poses"]["wamv1"][0].pop(),
    "no samples": lambda record: [record[key]["wamv1"].clear() for key in record],
    "unequal": lambda record: record["velocities"]["wamv3"].pop(),
    "words": lambda record: record["timestamps"]["wamv1"].__setitem__(0, "soon"),
}


@pytest.mark.parametrize("kind", VRX_BROKEN)
def test_unusable_vrx_records_are_refused_by_name(
    kind: str, here: Path, capsys: pytest.CaptureFixture
) -> None:
    vrx_experiment_config.main(["--robots", "3"])
    names = [f"wamv{k + 1}" for k in range(3)]
    record = {
        "timestamps": {name: [0.0, 0.5] for name in names},
        "poses": {name: [[0.0] * 6, [0.0] * 6] for name in names},
        "velocities": {name: [[0.0, 0.0]] * 2 for name in names},
    }
    VRX_BROKEN[kind](record)
    (here / "vrx_exp_traj.json").write_text(json.dumps(record))
    assert view_vrx_trajectory.main(["."]) == 2
    assert "vrx_exp_traj.json: wamv" in capsys.readouterr().err


def test_unwritable_output_fails_with_status_1(trial: Path, here: Path, monkeypatch, capsys) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    assert view_scenario.main([str(trial / "eval_configs.json")]) == 1
    assert "view_scenario.py: failed: [Errno 28] No space left on device" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_scripts_run_as_files_from_another_folder(golden: Path, here: Path) -> None:
    script = Path(view_scenario.__file__)
    arguments = [str(golden / "env/eval_episode_01.json"), "--dpi", "30"]
    done = subprocess.run([sys.executable, str(script), *arguments], cwd=here, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("scenario.png: 1 of 1 scenarios")
