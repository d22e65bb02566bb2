"""The viewing scripts as a user runs them: pictures of every kind, exit statuses, one line for bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scripts import (
    plot_training_results,
    view_episode,
    view_scenario,
    view_vrx_trajectory,
    vrx_experiment_config,
)
from tests.unit.recordings import golden_episode
from torchrl_gpu import __version__
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.record import EvaluationRecord

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


def test_run_without_histories_says_so(trial: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    record = EvaluationRecord()
    record.append(10, [EpisodeResult(1.0, True, 2.0, 3.0, [], [], [])])
    record.save(here)
    (here / "eval_configs.json").write_bytes((trial / "eval_configs.json").read_bytes())
    assert view_episode.main(["."]) == 2
    assert "evaluations.npz: holds no histories" in capsys.readouterr().err
    assert plot_training_results.main(["."]) == 0


def test_scripts_run_as_files_from_another_folder(golden: Path, here: Path) -> None:
    script = Path(view_scenario.__file__)
    arguments = [str(golden / "env/eval_episode_01.json"), "--dpi", "30"]
    done = subprocess.run([sys.executable, str(script), *arguments], cwd=here, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("scenario.png: 1 of 1 scenarios")
