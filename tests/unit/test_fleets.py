"""Fleets side by side, and what is measured of them, against plain loops over the same episodes."""

import copy
from math import hypot

import numpy as np
import pytest
import torch

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.reference.robot import Robot
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from tests.parity.test_batched_evaluation import GoalSeekingAgent
from torchrl_gpu.evaluation import batched, fleets, ladder
from torchrl_gpu.evaluation.batched import BatchedEvaluation
from torchrl_gpu.evaluation.conduct import APART
from torchrl_gpu.evaluation.fleets import Beginning, play, results_of
from torchrl_gpu.evaluation.ladder import Cell
from torchrl_gpu.evaluation.metrics import (
    ENDINGS,
    EpisodeResult,
    FleetMetrics,
    FleetResults,
    Z,
    average,
    ratio,
    share,
)
from torchrl_gpu.evaluation.one_by_one import create_eval_configs

SEED = 7
SCHEDULE = {
    "num_episodes": [4, 4, 4],
    "num_robots": [5, 4, 2],
    "num_cores": [0, 2, 0],
    "num_obstacles": [0, 3, 4],
    "min_start_goal_dis": [25.0, 20.0, 15.0],
}


@pytest.fixture(scope="module")
def episodes() -> list[dict]:
    """Three kinds of episodes."""
    return create_eval_configs(MarineNavEnv3(seed=12, is_eval_env=True), SCHEDULE)


def start_of(episodes: list[dict]) -> Beginning:
    world = VectorWorld(len(episodes), 5, seed=SEED)
    world.load(episodes)
    return Beginning.of(world)


@pytest.fixture(scope="module")
def both(episodes: list[dict]) -> tuple[list[EpisodeResult], FleetResults]:
    """Results of the same play by `BatchedEvaluation` and by `play`."""
    policy = GoalSeekingAgent()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched, "EPISODE_LIMIT", 100)
        patch.setattr(fleets, "EPISODE_LIMIT", 100)
        patch.setattr(fleets, "CROWDED", 0.0)  # who leaves the batch changes the noise of the others
        evaluated = BatchedEvaluation(policy, copy.deepcopy(episodes), seed=SEED, verbose=False)()
        return evaluated, results_of(play(policy, start_of(episodes), SEED + 1))


def test_they_end_as_an_evaluation_says(both: tuple) -> None:
    evaluated, results = both
    assert results.success.tolist() == [result.success for result in evaluated]
    for values, key in ((results.returns, "reward"), (results.times, "time"), (results.energies, "energy")):
        assert values.tolist() == pytest.approx([getattr(result, key) for result in evaluated], rel=1e-5)
    assert {"success", "vessel hit", "buoy hit"} <= {ENDINGS[k] for k in results.ending}
    for ending, result in zip(results.ending, evaluated, strict=True):
        collided = not result.success and "collision" in result.outcomes
        assert (ENDINGS[ending] in ("vessel hit", "buoy hit")) == collided


def test_paths_and_gaps_are_those_of_the_trajectories(both: tuple, episodes: list[dict]) -> None:
    evaluated, results = both
    for k, (result, episode) in enumerate(zip(evaluated, episodes, strict=True)):
        tracks = [np.array(rows)[:, :2] for rows in result.trajectories]
        assert results.paths[k] == pytest.approx(
            sum(np.linalg.norm(np.diff(track, axis=0), axis=1).sum() for track in tracks), rel=1e-4
        )
        starts, goals = (np.array(episode["robots"][key]) for key in ("start", "goal"))
        assert results.lines[k] == pytest.approx(
            np.linalg.norm(goals - starts, axis=1).sum() - 2 * len(goals)
        )
        vessels, buoys = gaps(tracks, episode)
        assert results.vessel_gaps[k] == pytest.approx(vessels, abs=1e-3)
        assert results.buoy_gaps[k] == pytest.approx(buoys, abs=1e-3)


def gaps(tracks: list[np.ndarray], episode: dict) -> tuple[float, float]:
    """Smallest gaps between vessels and to buoys after the start."""
    vessels, buoys = [np.inf], [np.inf]
    for i, track in enumerate(tracks):
        for t in range(1, len(track)):
            others = [other[t] for j, other in enumerate(tracks) if j != i and t < len(other)]
            vessels += [hypot(*(track[t] - other)) - 2 * Robot.r for other in others]
            obstacles = episode["env"]["obstacles"]
            pairs = zip(obstacles["positions"], obstacles["r"], strict=True)
            buoys += [hypot(*(track[t] - place)) - r - Robot.r for place, r in pairs]
    return min(vessels), min(buoys)


def test_duties_are_those_that_the_reference_vessels_see(both: tuple) -> None:
    evaluated, results = both
    counts = [duties(result.trajectories) for result in evaluated]
    assert results.duties.tolist() == [ended for ended, _ in counts]
    assert results.kept.tolist() == [kept for _, kept in counts]
    assert 0 < results.kept.sum() < results.duties.sum()


def duties(trajectories: list) -> tuple[int, int]:
    """How many turns were asked for and ended, and how many were kept, vessel by vessel and step by step."""
    ended = kept = 0
    steps = max(map(len, trajectories))
    for i, own in enumerate(trajectories):
        for j, other in enumerate(trajectories):
            nearest = None  # distance while a duty is open, and the side
            for t in range(1, steps):
                if i == j or t >= len(own) or t >= len(other):
                    break
                asked, distance, starboard = look(own[t], other[t])
                if asked or nearest is not None:
                    if nearest is None or distance < nearest[0]:
                        nearest = distance, starboard
                    touch = distance <= 2 * Robot.r
                    if touch or distance > nearest[0] + APART:
                        ended += 1
                        kept += nearest[1] < 0 and not touch
                        nearest = None
    return ended, kept


def look(own: list, other: list) -> tuple[bool, float, float]:
    """Whether the rule asks for a turn, the distance, and how far to starboard the other one is."""
    vessel = Robot()
    vessel.x, vessel.y, vessel.theta = own[:3]
    vessel.velocity = np.array(own[6:9])
    place = vessel.project_to_robot_frame(np.array(other[:2]), is_vector=False)
    velocity = vessel.project_to_robot_frame(np.array(other[6:8]))
    seen = hypot(*place) <= vessel.perception.range + vessel.r
    asked = seen and vessel.check_apply_COLREGs([*place, *velocity, vessel.r])
    return asked, hypot(*place), float(place[1])


def test_those_that_leave_the_batch_are_not_forgotten(episodes: list[dict]) -> None:
    policy = GoalSeekingAgent()  # looks at nothing that is noisy
    start = start_of(episodes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleets, "CROWDED", 0.0)
        whole = play(policy, start, 1)
    thinned = play(policy, start, 2)
    for before, after in zip(whole.tally[1:], thinned.tally[1:], strict=True):  # the rule sees noise
        torch.testing.assert_close(before, after)
    torch.testing.assert_close(whole.conduct.paths, thinned.conduct.paths)
    assert len(set(whole.tally.steps.amax(0).tolist())) > 5


def test_every_policy_gets_the_same_episodes() -> None:
    batch = [Cell(3, 0, 0), Cell(3, 4, 2)]
    first, second = (ladder.beginning(batch, 3, seed=5).state.scenario for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert first.counts.T.tolist() == [[3, 0, 0]] * 3 + [[3, 2, 4]] * 3
    results, decisions = ladder.climb(GoalSeekingAgent(), batch, 3, seed=5)
    assert list(results) == batch
    assert decisions.number > 100
    assert np.isinf(results[batch[0]].buoy_gaps).all()
    assert np.isfinite(results[batch[1]].buoy_gaps).all()


def test_a_ladder_is_played_by_numbers_of_vessels() -> None:
    steps = ladder.cells([3, 4], [0, 2], [0, 4])
    assert len(steps) == len(set(steps)) == 8
    assert [{cell.vessels for cell in batch} for batch in ladder.batches(steps)] == [{3, 4}]
    wide = ladder.batches(ladder.cells(range(3, 9), [0], [0, 4]))
    assert [{cell.vessels for cell in batch} for batch in wide] == [{3, 4, 5}, {6, 7, 8}]


def test_shares_have_the_interval_of_wilson() -> None:
    estimate = share([True] * 8 + [False] * 2)
    assert estimate.value == 0.8
    assert (estimate.low, estimate.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert share([True] * 5).high == 1.0
    assert share([]).value is None


def test_means_have_the_normal_interval_over_episodes() -> None:
    values = np.array([1.0, 2.0, 4.0, 5.0])
    estimate = average(values)
    assert estimate.value == 3.0
    assert estimate.high - 3.0 == pytest.approx(Z * values.std(ddof=1) / 2)
    assert ratio([1, 1], [2, 2])[:3] == (0.5, 0.5, 0.5)
    assert ratio([], []).value is None


def test_times_and_gaps_are_of_the_successful_episodes() -> None:
    columns = np.arange(1.0, 10.0)[:, None] * np.array([1.0, 10.0])
    results = FleetResults(np.array([0, 1]), *columns)
    metrics = FleetMetrics.of(results)
    assert metrics.success.value == metrics.vessel_hit.value == 0.5
    assert (metrics.time.value, metrics.path.value) == (2.0, pytest.approx(4 / 5))
    assert metrics.mean_return.value == 5.5
    assert metrics.rule_kept.value == pytest.approx(9 / 8)
