"""`scripts/evaluate.py` and `scripts/export.py`, from their arguments to their files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.traced import traced_name
from marinenav_env.envs import MarineNavEnv3
from scripts import evaluate, export, train_rl_agents
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation import one_by_one as evaluation
from torchrl_gpu.evaluation.metrics import EpisodeResult, Metrics
from torchrl_gpu.evaluation.record import EvaluationRecord

CONFIG = {
    "seed": 0,
    "total_timesteps": 30,
    "eval_freq": 30,
    "training_schedule": {
        "timesteps": [0],
        "num_robots": [2],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [15.0],
    },
    "eval_schedule": {
        "num_episodes": [2, 1],
        "num_robots": [1, 2],
        "num_cores": [0, 1],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [10.0, 15.0],
    },
    "imitation_learning": False,
    "learning_starts": 25,
    "buffer_size": 1000,
    "batch_size": 16,
}


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch):
    """Evaluation episodes of at most 40 steps, for trainer and script alike."""
    monkeypatch.setattr(evaluation, "EPISODE_LIMIT", 39)


def write_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(CONFIG | {"save_dir": str(folder / "runs")} | changes))
    return path


def model_folder(folder, agent_type, **keywords):
    path = folder / agent_type
    path.mkdir(exist_ok=True)
    Agent(agent_type=agent_type, training=False, **keywords).save_latest_model(path)
    return path


def run_evaluate(output, *arguments):
    """Evaluate in this process; the JSON report."""
    assert evaluate.main([*map(str, arguments), "--output", str(output)]) == 0
    return json.loads(output.read_text())


@pytest.mark.parametrize("agent_type", ["AC-IQN", "DQN"])
def test_it_repeats_the_evaluation_of_the_trainer(agent_type, tmp_path, capsys):
    # The last evaluation and the last model are of the same timestep, so their weights are the same.
    config = write_config(tmp_path, agent_type=agent_type)
    assert train_rl_agents.main(["-C", str(config)]) == 0
    (folder,) = (tmp_path / "runs").glob("*/seed_0")
    record = EvaluationRecord.load(folder)
    assert record.timesteps[-1] == CONFIG["total_timesteps"]

    from_config = run_evaluate(tmp_path / "c.json", "-M", folder, "-C", config)
    from_episodes = run_evaluate(tmp_path / "e.json", "-M", folder, "-E", folder / "eval_configs.json")
    for report in (from_config, from_episodes):
        assert [episode["return"] for episode in report["episodes"]] == record.rewards[-1]
        assert [episode["success"] for episode in report["episodes"]] == record.successes[-1]
        assert [episode["time"] for episode in report["episodes"]] == record.times[-1]
        assert [episode["energy"] for episode in report["episodes"]] == record.energies[-1]
        assert report["total"]["mean_return"] == np.mean(record.rewards[-1])
        assert report["dtype"] == "float32"
    assert from_config["total"] == from_episodes["total"]
    assert [stage["episodes"] for stage in from_episodes["stages"]] == [2, 1]
    assert "total" in capsys.readouterr().out


class StaleWorld(MarineNavEnv3):
    """A world on which nobody sets the number of robots: it keeps the constructor's default."""

    num_robots = property(lambda self: 6, lambda self, value: None)


def test_broken_twin_without_the_last_number_of_robots_the_returns_differ(tmp_path, monkeypatch):
    # Quirk W26: the number that the last stage leaves on the world bounds the sensor seeds of all episodes.
    schedule = CONFIG["eval_schedule"] | {"num_robots": [3, 4], "num_obstacles": [3, 4]}
    config = write_config(tmp_path, agent_type="AC-IQN", eval_schedule=schedule)
    folder, episodes = model_folder(tmp_path, "AC-IQN"), tmp_path / "episodes.json"
    env = MarineNavEnv3(seed=253, is_eval_env=True)
    episodes.write_text(json.dumps(evaluation.create_eval_configs(env, schedule)))
    right = run_evaluate(tmp_path / "c.json", "-M", folder, "-C", config)
    assert run_evaluate(tmp_path / "e.json", "-M", folder, "-E", episodes)["episodes"] == right["episodes"]
    monkeypatch.setattr(evaluate, "evaluation_world", lambda: StaleWorld(seed=253, is_eval_env=True))
    wrong = run_evaluate(tmp_path / "e.json", "-M", folder, "-E", episodes)
    assert wrong["episodes"] != right["episodes"]


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_folder_export_and_evaluation_agree_in_float64(agent_type, tmp_path, capsys):
    config, folder = write_config(tmp_path, agent_type=agent_type), model_folder(tmp_path, agent_type, seed=2)
    assert export.main(["-M", str(folder), "-O", str(tmp_path)]) == 0
    traced = tmp_path / traced_name(agent_type)
    assert capsys.readouterr().out.strip() == str(traced)

    from_traced = run_evaluate(tmp_path / "t.json", "-M", traced, "-C", config)
    from_folder = run_evaluate(tmp_path / "f.json", "-M", folder, "-C", config, "--dtype", "float64")
    assert (from_traced["agent_type"], from_traced["dtype"]) == (agent_type, "float64")
    assert from_traced["episodes"] == from_folder["episodes"]


@pytest.mark.parametrize("agent_type", ["IQN", "SAC"])
def test_the_seed_decides_what_stochastic_agents_do(agent_type, tmp_path):
    config, folder = write_config(tmp_path, agent_type=agent_type), model_folder(tmp_path, agent_type, seed=2)
    reports = [
        run_evaluate(tmp_path / "r.json", "-M", folder, "-C", config, "--seed", seed) for seed in (1, 1, 2)
    ]
    assert reports[0] == reports[1]
    assert reports[0]["episodes"] != reports[2]["episodes"]


def test_other_episodes_and_more_of_them(tmp_path):
    config, folder = write_config(tmp_path, agent_type="DQN"), model_folder(tmp_path, "DQN")
    usual, more, other = (
        run_evaluate(tmp_path / "r.json", "-M", folder, "-C", config, *options)
        for options in ((), ("--per-stage", 2), ("--per-stage", 2, "--episode-seed", 7))
    )
    assert [stage["episodes"] for stage in usual["stages"]] == [2, 1]
    assert [stage["episodes"] for stage in more["stages"]] == [2, 2]
    assert more["episodes"][:2] == usual["episodes"][:2]
    assert other["episodes"] != more["episodes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-C", "c.json", "--per-stage", "0"), "--per-stage is 0, allowed is 1 to 100000"),
        (("-C", "c.json", "--episode-seed", "-1"), "--episode-seed is -1, allowed is 0 to 4294967295"),
        (("-E", "e.json", "--per-stage", "2"), "draw episodes for -C; -E gives its own"),
    ],
)
def test_episodes_that_cannot_be_drawn_are_refused(options, message, tmp_path, capsys):
    folder = model_folder(tmp_path, "DQN")
    assert evaluate.main(["-M", str(folder), *options, "--output", str(tmp_path / "r.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


def test_the_discount_is_that_of_the_config(tmp_path):
    folder = model_folder(tmp_path, "DQN")
    undiscounted = write_config(tmp_path, agent_type="DQN", discount=1.0)
    report = run_evaluate(tmp_path / "r.json", "-M", folder, "-C", undiscounted)
    assert report["discount"] == 1.0
    other = run_evaluate(tmp_path / "r.json", "-M", folder, "-C", write_config(tmp_path, agent_type="DQN"))
    assert report["total"]["mean_return"] != other["total"]["mean_return"]


def test_time_and_energy_are_of_successful_episodes_only(tmp_path):
    def result(reward, success, time, energy):
        return EpisodeResult(reward, success, time, energy, [], [], [])

    results = [
        result(1.0, True, 10.0, 100.0),
        result(3.0, False, 99.0, 999.0),
        result(5.0, True, 20.0, 300.0),
    ]
    stages = [{"num_robots": robots, "num_cores": 0, "num_obstacles": 0} for robots in (1, 2)]
    task = evaluate.Task(env=None, episodes=[], stages=stages, stage_of=[0, 1, 1], discount=0.99)
    report = evaluate.make_report(task, results)
    assert report["total"] == {
        "episodes": 3,
        "success_rate": pytest.approx(2 / 3),
        "mean_return": 3.0,
        "mean_time": 15.0,
        "mean_energy": 200.0,
    }
    assert report["stages"][1] | {"num_robots": 2} == stages[1] | {
        "episodes": 2,
        "success_rate": 0.5,
        "mean_return": 4.0,
        "mean_time": 20.0,
        "mean_energy": 300.0,
    }
    none = Metrics.of_results(results[1:2])._asdict()
    assert (none["success_rate"], none["mean_time"], none["mean_energy"]) == (0.0, None, None)
    assert evaluate.table(report).splitlines()[-1].split() == ["total", "3", "0.667", "3.00", "15.00", "200"]


@pytest.mark.parametrize("main", [train_rl_agents.main, train_torchrl_gpu.main])
def test_both_pipelines_start_from_a_model_and_change_it(main, tmp_path):
    folder = model_folder(tmp_path, "DQN", seed=9)
    config = write_config(tmp_path, agent_type="DQN", load_model=str(folder), learning_rate=1e-9)
    assert main(["-C", str(config)]) == 0
    (run,) = (tmp_path / "runs").glob("*/seed_0")
    start, end = (Agent(agent_type="DQN", training=False) for _ in range(2))
    start.load_model(folder)
    end.load_model(run)
    gaps = [
        (new - old).abs().max().item()
        for new, old in zip(end.policy_local.parameters(), start.policy_local.parameters(), strict=True)
    ]
    assert 0 < max(gaps) < 1e-6


@pytest.mark.parametrize("script", ["evaluate", "export"])
def test_as_a_program(script, tmp_path):
    path = Path(evaluate.__file__).with_name(f"{script}.py")
    help_text = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert help_text.returncode == 0
    assert "examples:" in help_text.stdout
    usage = subprocess.run([sys.executable, path], capture_output=True, text=True, cwd=tmp_path)
    assert usage.returncode == 2


def test_the_help_says_what_an_untrusted_file_means(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "loading an untrusted one with torch.jit.load can run whatever its author put there" in text
