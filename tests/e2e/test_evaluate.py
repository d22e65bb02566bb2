"""`scripts/evaluate.py` and `scripts/export.py`, from their arguments to their files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.traced import traced_name
from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.contract.stage import Stage
from scripts import evaluate, export, train_rl_agents, view_episode
from scripts.tabulating.diagnosis import ending_of, endings_table, worst_episodes
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation import batched, task
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
    for module in (evaluation, batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 39)


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
    monkeypatch.setattr(task, "MarineNavEnv3", StaleWorld)
    wrong = run_evaluate(tmp_path / "e.json", "-M", folder, "-E", episodes)
    assert wrong["episodes"] != right["episodes"]


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_folder_export_and_evaluation_agree_in_float64(agent_type, tmp_path, capsys):
    config, folder = write_config(tmp_path, agent_type=agent_type), model_folder(tmp_path, agent_type, seed=2)
    assert export.main(["-M", str(folder), "-O", str(tmp_path)]) == 0
    traced = tmp_path / traced_name(agent_type)
    assert capsys.readouterr().out.startswith(f"{traced}: ((1, 7), (1, 5, 5), (1, 5))")

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


@pytest.mark.parametrize("agent_type", ["AC-IQN", "DQN"])
def test_side_by_side_the_report_has_the_same_episodes(agent_type, tmp_path):
    config, folder = write_config(tmp_path, agent_type=agent_type), model_folder(tmp_path, agent_type)
    one, many = (
        run_evaluate(tmp_path / "r.json", "-M", folder, "-C", config, "--backend", backend)
        for backend in ("numpy", "torch")
    )
    assert many["backend"] == "torch"
    assert one.keys() == many.keys()
    assert [stage["episodes"] for stage in many["stages"]] == [2, 1]
    # Without buoys, vortices or other vessels nothing is drawn: the worlds agree.
    for a, b in zip(one["episodes"][:2], many["episodes"][:2], strict=True):
        assert b["return"] == pytest.approx(a["return"], rel=1e-3)
        assert (b["success"], b["time"]) == (a["success"], a["time"])
    again = run_evaluate(tmp_path / "r.json", "-M", folder, "-C", config, "--backend", "torch")
    assert again == many


def test_what_is_played_is_diagnosed_and_kept_to_be_viewed(tmp_path, capsys):
    config, folder = write_config(tmp_path, agent_type="DQN"), model_folder(tmp_path, "DQN")
    kept = tmp_path / "kept"
    kept.mkdir()
    options = ("-M", folder, "-C", config, "--diagnose", "--keep", kept, "--backend", "torch")
    played = run_evaluate(tmp_path / "p.json", *options)
    words = capsys.readouterr().out
    assert "time-out" in words
    assert re.search(r"^episode \d, stage \d: return .*, not all robots arrived in time$", words, re.M)
    assert {episode["ending"] for episode in played["episodes"]} <= {"success", "time-out"}
    assert evaluate.main([*map(str, options), "-o", str(tmp_path / "n.json")]) == 2  # a run stays as it is
    recorded = run_evaluate(tmp_path / "k.json", "--record", kept, "--diagnose")
    assert recorded["episodes"] == played["episodes"]
    assert recorded["total"] == played["total"]
    assert view_episode.main([str(kept), "-e", "0", "--width", "400", "-o", str(tmp_path / "e.png")]) == 0


def test_endings_are_counted_and_the_worst_named():
    world = MarineNavEnv3(seed=0)
    world.num_robots, world.num_cores, world.num_obs = 3, 0, 1
    world.reset()
    episode = world.episode_data()
    buoy = world.obstacles[0]
    apart = [[[5.0, 5.0]], [[25.0, 5.0]], [[45.0, 5.0]]]
    met = [[[5.0, 5.0], [25.0, 6.0]], [[25.0, 5.0], [25.0, 5.0]], [[45.0, 5.0]]]  # robot 2 has left
    struck = [[[5.0, 5.0]], [[25.0, 5.0]], [[buoy.x, buoy.y + buoy.r]]]

    def ending(trajectories, outcomes=(), success=False):
        result = EpisodeResult(1.0, success, 1.0, 1.0, [], [], trajectories, list(outcomes))
        return ending_of(episode, result)

    normal, hit = "normal", "collision"
    found = [
        ending(apart, success=True),
        ending(apart, ["too long episode"] * 3),
        ending(met, [hit, hit, "reach goal"]),
        ending(struck, [normal, normal, hit]),
        ending([], [normal, hit, normal]),
        ending(struck),  # a record of the legacy pipeline keeps no outcomes
        ending(met, [normal, normal, normal]),  # a contact that the world did not detect
    ]
    kinds = ["success", "time-out", "vessel hit", "buoy hit", "collision", "buoy hit", "time-out"]
    assert [each.kind for each in found] == kinds
    assert found[2].words == "robot 0 hit robot 1"
    assert found[3].words == "robot 2 hit a buoy"
    assert found[4].words == "robot 1 collided"
    stages = [("3", "0", n) for n in "01"]
    stage_of = [0, 0, 0, 0, 1, 1, 1]
    lines = endings_table(stages, stage_of, found).splitlines()
    assert lines[-1].split() == ["total", "7", "1", "1", "2", "1", "2"]
    worst = worst_episodes(found, [0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 6.0], stage_of)
    assert [line.partition(",")[0] for line in worst] == [f"episode {k}" for k in (5, 4, 3, 2, 1)]


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


def episode_of(env, stage):
    env.stage = stage
    env.reset()
    return env.episode_data()


def test_time_and_energy_are_of_successful_episodes_only(tmp_path):
    def result(reward, success, time, energy):
        return EpisodeResult(reward, success, time, energy, [], [], [])

    results = [
        result(1.0, True, 10.0, 100.0),
        result(3.0, False, 99.0, 999.0),
        result(5.0, True, 20.0, 300.0),
    ]
    env = MarineNavEnv3()
    played = [episode_of(env, Stage(robots, 1, obstacles)) for robots, obstacles in ((1, 3), (2, 3), (2, 4))]
    report = task.Task(env, played, stage_of=[0, 1, 1], discount=0.99).report(results)
    assert report["total"] == {
        "episodes": 3,
        "success_rate": pytest.approx(2 / 3),
        "mean_return": 3.0,
        "mean_time": 15.0,
        "mean_energy": 200.0,
    }
    assert report["stages"][1] == {
        "num_robots": 2,
        "num_cores": 1,
        "num_obstacles": 3.5,
        "episodes": 2,
        "success_rate": 0.5,
        "mean_return": 4.0,
        "mean_time": 20.0,
        "mean_energy": 300.0,
    }
    assert [each["num_obstacles"] for each in report["episodes"]] == [3, 3, 4]
    none = Metrics.of_results(results[1:2])
    assert (none.success_rate, none.mean_time, none.mean_energy) == (0.0, None, None)
    assert evaluate.metrics_table(report).splitlines()[-1].split() == [
        "total",
        "3",
        "0.667",
        "3.00",
        "15.00",
        "200",
    ]


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
