"""Progress, statistics and reports of a run, fed with scripted steps and evaluations."""

import sys

import pytest
import torch

from marinenav_env.envs.contract.outcome import Outcome
from torchrl_gpu.collect.step import Step
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.watch import progress as progress_module
from torchrl_gpu.watch.episode_report import EpisodeReports
from torchrl_gpu.watch.progress import Progress, Verbosity, stage_names
from torchrl_gpu.watch.statistics import EpisodeStatistics, EpisodeSums

N, C, G = Outcome.NORMAL, Outcome.COLLISION, Outcome.REACH_GOAL
AFTER_C, AFTER_G = Outcome.DEACTIVATED_AFTER_COLLISION, Outcome.DEACTIVATED_AFTER_REACHING_GOAL
LONG, ABSENT = Outcome.TOO_LONG_EPISODE, Outcome.ABSENT


def step_of(rewards, outcomes, done):
    """One vector step: rewards and outcomes [E][R], done [E]."""
    outcome = torch.tensor(outcomes, dtype=torch.int8)
    ended = (outcome != N).flatten()
    reward = torch.tensor(rewards, dtype=torch.float64)
    return Step(torch.zeros(len(ended), 77), ended, ended, reward, outcome, torch.tensor(done))


# Two environments of up to two robots; the second has one robot in its first episode.
EPISODES = [
    step_of([[1.0, 2.0], [4.0, 0.0]], [[N, N], [N, ABSENT]], [False, False]),
    step_of([[1.0, 6.0], [2.0, 0.0]], [[G, N], [G, ABSENT]], [False, True]),
    step_of([[0.0, 4.0], [8.0, 2.0]], [[AFTER_G, C], [N, N]], [True, False]),
    step_of([[5.0, 5.0], [8.0, 2.0]], [[G, G], [LONG, AFTER_C]], [True, True]),
]


def test_statistics_of_finished_episodes():
    statistics = EpisodeStatistics(2, 2, 0.5, "cpu")
    sums = []
    for t, step in enumerate(EPISODES):
        statistics(step, 2 * t)
        sums.append(statistics.read())
    assert sums[0] == (0, 0, 0, 0)
    assert sums[1] == (1, 4 + 0.5 * 2, 1, 2)
    # 1 + .5 and 2 + 3 + 1; a collision is no success
    assert sums[2] == (2, 5 + (1.5 + 6.0) / 2, 1, 5)
    # 5 and 5, a success; 8 + 4 and 2 + 1, none
    assert sums[3] == (4, sums[2].returns + 5 + 7.5, 2, 5 + 1 + 2)
    assert sums[3].means_since(sums[2]) == {
        "episodes": 2,
        "return": 6.25,
        "success": 0.5,
        "episode_length": 1.5,
    }
    assert sums[3].means_since(sums[3]) == {"episodes": 0.0}


def test_an_episode_without_robots_counts_as_no_success():
    statistics = EpisodeStatistics(2, 1, 0.5, "cpu")
    statistics(step_of([[4.0], [0.0]], [[G], [ABSENT]], [True, True]), 0)
    assert statistics.read() == (2, 4.0, 1, 2)


@pytest.mark.parametrize("num_envs", [1, 2])
def test_statistics_go_on_from_their_state(num_envs):
    """One environment lets its rewards wait for the end of the episode; that must not show."""
    one, two = (EpisodeStatistics(num_envs, 2, 0.5, "cpu") for _ in range(2))
    for t, step in enumerate(EPISODES):
        step = Step(*(values[:num_envs] for values in step[:6]))
        if t == 2:
            state = one.state_dict()
            two.load_state_dict({name: None if x is None else x.clone() for name, x in state.items()})
        one(step, 2 * t)
        if t >= 2:
            two(step, 2 * t)
    assert one.read() == two.read()
    assert one.read()[:2] == ((4, 8.75 + 12.5) if num_envs == 2 else (2, 8.75))


def test_the_legacy_report_of_an_episode():
    shown = []
    reports = EpisodeReports(Schedule(total_timesteps=100, eval_freq=50), 0.5, shown.append)
    reports(step_of([[1.0, 2.0, 0.0]], [[N, N, ABSENT]], [False]), 7)
    reports(step_of([[1.0, 6.0, 0.0]], [[G, N, ABSENT]], [False]), 8)
    reports(step_of([[0.0, 4.0, 0.0]], [[AFTER_G, C, ABSENT]], [True]), 9)
    reports(step_of([[-1.5]], [[LONG]], [True]), 10)
    banner = "======== RL Episode Info ========"
    assert shown[0].split("\n") == [
        banner,
        "current ep_length: 2",
        "current ep_num: 1",
        f"current exploration rate: {Schedule(total_timesteps=100, eval_freq=50).epsilon(9)}",
        "current timesteps: 9",
        "total timesteps: 100",
        "Robot 0 ep reward: 1.50, deactivated after reaching goal at step 1",
        "Robot 1 ep reward: 6.00, collision",
        banner,
        "",
    ]
    assert "current ep_num: 2" in shown[1]
    assert "Robot 0 ep reward: -1.50, too long episode" in shown[1]


def follow(verbosity, log):
    """A run of 300 timesteps, one episode in each, with one evaluation."""
    statistics = EpisodeStatistics(1, 1, 0.5, "cpu")
    stage = stage_names([0, 200], mixed=False)
    progress = Progress(Schedule(total_timesteps=299, eval_freq=150), 1, stage, statistics, log, verbosity)
    progress.start(0)
    step = step_of([[3.0]], [[G]], [True])
    for t in range(300):
        progress(step, t)
        progress.learned({"critic": torch.tensor([1.0, 3.0])}, 2)
        if t == 150:
            results = [EpisodeResult(r, r > 0, 10.0 * r, 5.0, [], [], []) for r in (-2.0, 4.0)]
            progress.evaluated(t, results)
    progress.close()
    return progress


def test_scalars_and_one_line_per_evaluation(capsys):
    logged = []
    progress = follow(Verbosity.NORMAL, lambda scalars, t: logged.append((t, scalars)))
    assert [t for t, _ in logged] == [100, 150, 200, 300]
    assert 0 < logged[1][1].pop("speed/wall_minutes") < 1
    assert logged[1][1] == {"eval/return": 1.0, "eval/success": 0.5, "eval/time": 40.0, "eval/energy": 5.0}
    scalars = logged[2][1]
    assert scalars["train/episodes"] == 100
    assert (scalars["train/return"], scalars["train/success"], scalars["train/episode_length"]) == (3, 1, 1)
    assert scalars["loss/critic"] == 2.0
    assert scalars["train/epsilon"] == 0.05
    assert scalars["speed/updates_per_second"] == pytest.approx(2 * scalars["speed/timesteps_per_second"])
    out, err = capsys.readouterr()
    [line] = out.splitlines()
    start = "timestep 150 of 299  stage 1/2  epsilon 0.050  success 0.50  return 1.00  "
    assert line.startswith(start)
    assert "timesteps/s" in line
    assert line.endswith(" left")
    assert err == ""
    assert progress.bar is None


def test_quiet_says_nothing_and_writes_all(capsys):
    logged = []
    follow(Verbosity.QUIET, lambda scalars, t: logged.append(t))
    assert logged == [100, 150, 200, 300]
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    follow(Verbosity.NORMAL, lambda scalars, t: None)
    out, err = capsys.readouterr()
    assert "timestep 150 of 299" in out
    last = err.split("\r")[-1]
    for part in ("300/300", "timesteps/s", "stage 2/2", "epsilon 0.05", "return 3.00", "success 0.50"):
        assert part in last


def test_no_bar_in_the_process_of_a_sweep(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert progress_module.on_terminal()
    monkeypatch.setattr(progress_module.multiprocessing, "parent_process", lambda: object())
    assert not progress_module.on_terminal()


def test_names_of_stages():
    name = stage_names([0, 10, 20], mixed=False)
    assert [name(t) for t in (0, 9, 10, 25)] == ["1/3", "1/3", "2/3", "3/3"]
    assert stage_names([0, 10, 20], mixed=True)(15) == "1-3"


def test_sums_start_at_zero():
    assert EpisodeSums().means_since(EpisodeSums()) == {"episodes": 0.0}
