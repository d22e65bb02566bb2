"""Scenarios of the tensor world and of `MarineNavEnv3` have the same distribution, and obey every rule.

Two-sample tests with fixed seeds, family-wise significance 0.001 (Bonferroni over the statistics compared).
"""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from marinenav_env.envs import MarineNavEnv3
from marinenav_env.envs.torchrl_gpu.episodes import default_constants, map_params
from marinenav_env.envs.torchrl_gpu.ops.scenario import Request, generate
from marinenav_env.envs.torchrl_gpu.state import MapParams, Scenario
from marinenav_env.envs.torchrl_gpu.world import Stage

SIGNIFICANCE = 1e-3
USUAL = Stage(5, 4, 4, 40.0)
CROWDED = Stage(8, 8, 8, 55.0)  # the 500 attempts run out (Quirk W9)


def reference(stage: Stage, number: int, **attributes: Any) -> list[dict]:
    env = MarineNavEnv3(seed=11)
    env.verbose = False
    env.num_robots, env.num_cores, env.num_obs, env.min_start_goal_dis = stage
    for name, value in attributes.items():
        setattr(env, name, value)
    episodes = []
    for _ in range(number):
        env.reset()
        episodes.append(env.episode_data())
    return episodes


def drawn(stage: Stage, number: int, **changes: Any) -> Scenario:
    maps = map_params([default_constants() | changes]).repeat(1, number)
    wanted = [torch.full((number,), value) for value in stage]
    request = Request(*wanted[:3], wanted[3].double(), MapParams(*maps))
    return generate(request, (8, 8, 8), torch.Generator().manual_seed(5))


def padded(values: list, slots: int, size: int) -> np.ndarray:
    out = np.full((slots, size), np.nan)
    if values:
        out[: len(values)] = np.asarray(values, dtype=float).reshape(len(values), -1)
    return out


def arrays_of_episodes(episodes: list[dict]) -> dict[str, np.ndarray]:
    """Objects of all scenarios, [N, slots, features], NaN beyond those that exist."""

    def stack(rows: list[list], slots: int, size: int) -> np.ndarray:
        return np.stack([padded(row, slots, size) for row in rows])

    return {
        "start": stack([e["robots"]["start"] for e in episodes], 8, 2),
        "goal": stack([e["robots"]["goal"] for e in episodes], 8, 2),
        "theta": stack([e["robots"]["init_theta"] for e in episodes], 8, 1),
        "core": stack([e["env"]["cores"]["positions"] for e in episodes], 8, 2),
        "spin": stack([e["env"]["cores"]["clockwise"] for e in episodes], 8, 1),
        "gamma": stack([e["env"]["cores"]["Gamma"] for e in episodes], 8, 1),
        "obstacle": stack([e["env"]["obstacles"]["positions"] for e in episodes], 8, 2),
        "radius": stack([e["env"]["obstacles"]["r"] for e in episodes], 8, 1),
    }


def arrays_of_scenario(s: Scenario) -> dict[str, np.ndarray]:
    def masked(rows: torch.Tensor, count: torch.Tensor) -> np.ndarray:
        exists = torch.arange(rows.shape[1])[:, None] < count
        return torch.where(exists, rows, torch.nan).permute(2, 1, 0).numpy()

    robots, cores, obstacles = s.counts
    return {
        "start": masked(s.initial[:2], robots),
        "goal": masked(s.goal, robots),
        "theta": masked(s.initial[2:3], robots),
        "core": masked(s.cores[:2], cores),
        "spin": masked(s.cores[2:3], cores),
        "gamma": masked(s.cores[3:], cores),
        "obstacle": masked(s.obstacles[:2], obstacles),
        "radius": masked(s.obstacles[2:], obstacles),
    }


def gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of all points of each scenario, [N, slots of a, slots of b]."""
    return np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)


def closest(distances: np.ndarray) -> np.ndarray:
    """Least distance of each scenario, infinite where there is none."""
    return np.nan_to_num(distances, nan=np.inf).min(1)


def statistics(a: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbers of each scenario whose distributions are compared; the first and the last placed apart."""
    number = len(a["start"])
    first, second = np.triu_indices(8, 1)
    result = {
        "start goal": np.linalg.norm(a["goal"] - a["start"], axis=-1),
        "start start": gaps(a["start"], a["start"])[:, first, second],
        "start next goal": gaps(a["start"], a["goal"])[:, 0, 1],
        "core start": gaps(a["core"], a["start"])[:, 0],
        "core core": gaps(a["core"], a["core"])[:, first, second],
        "closest core start": closest(gaps(a["core"], a["start"]).reshape(number, -1)),
        "closest starts": closest(gaps(a["start"], a["start"])[:, first, second]),
        "closest goals": closest(gaps(a["goal"], a["goal"])[:, first, second]),
        "core spins": np.nansum(a["spin"][:, :, 0], axis=1),
        "gamma": a["gamma"],
        "obstacle goal": gaps(a["obstacle"], a["goal"])[:, 1],
        "obstacle core": gaps(a["obstacle"], a["core"])[:, 0],
        "radius": a["radius"],
        "theta": a["theta"],
    }
    for name in ("start", "goal", "core", "obstacle"):
        for axis in (0, 1):
            result[f"first {name} {axis}"] = a[name][:, 0, axis]
            result[f"fourth {name} {axis}"] = a[name][:, 3, axis]
    for name in ("start", "core", "obstacle"):
        result[f"number of {name}"] = np.isfinite(a[name][..., 0]).sum(1)
    return result


def p_values(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, float]:
    """Kolmogorov-Smirnov p-value of every statistic, times their number."""
    ours, theirs = statistics(a), statistics(b)
    result = {}
    for name in ours:
        x, y = ours[name].ravel(), theirs[name].ravel()
        result[name] = ks_2samp(x[np.isfinite(x)], y[np.isfinite(y)]).pvalue * len(ours)
    return result


OTHER_MAP = {"width": 60, "height": 50, "r": 0.8, "v_range": [2, 4], "obs_r_range": [0.5, 2], "clear_r": 8}


@pytest.fixture(scope="module")
def usual_reference() -> dict[str, np.ndarray]:
    return arrays_of_episodes(reference(USUAL, 300))


def test_distribution(usual_reference: dict[str, np.ndarray]) -> None:
    p = p_values(arrays_of_scenario(drawn(USUAL, 1500)), usual_reference)
    assert min(p.values()) >= SIGNIFICANCE, p


@pytest.mark.parametrize(
    ("stage", "changes", "number"),
    [(USUAL, OTHER_MAP, 300), (CROWDED, {}, 120)],
    ids=["other map", "crowded"],
)
def test_distribution_elsewhere(stage: Stage, changes: dict, number: int) -> None:
    ours = arrays_of_scenario(drawn(stage, 1500, **changes))
    p = p_values(ours, arrays_of_episodes(reference(stage, number, **changes)))
    assert min(p.values()) >= SIGNIFICANCE, p


@pytest.mark.parametrize("changes", [{"clear_r": 9.5}, {"obs_r_range": [1, 1.01]}], ids=str)
def test_a_wrong_rule_is_noticed(usual_reference: dict[str, np.ndarray], changes: dict) -> None:
    """The broken twin."""
    p = p_values(arrays_of_scenario(drawn(USUAL, 1500, **changes)), usual_reference)
    assert min(p.values()) < SIGNIFICANCE


@pytest.mark.parametrize("stage", [USUAL, CROWDED], ids=["usual", "crowded"])
def test_rules(stage: Stage) -> None:
    """Every distance rule of environment spec 4 holds in every scenario."""
    a = arrays_of_scenario(drawn(stage, 1000))
    apart = ~np.eye(8, dtype=bool)

    def least(distances: np.ndarray) -> float:
        return np.nanmin(distances)

    assert least(np.linalg.norm(a["goal"] - a["start"], axis=-1)) >= stage.min_start_goal_dis
    assert least(gaps(a["start"], a["start"])[:, apart]) > 10
    assert least(gaps(a["goal"], a["goal"])[:, apart]) > 10
    for ends in (a["start"], a["goal"]):
        assert least(gaps(a["core"], ends)) >= 10.5
        assert least(gaps(a["obstacle"], ends)) >= 11
        assert least(ends) >= 2
        assert np.nanmax(ends) <= 53
    assert least(gaps(a["obstacle"], a["core"])) > 1.5
    assert least(gaps(a["obstacle"], a["obstacle"])[:, apart]) > 2
    distance, same = gaps(a["core"], a["core"]), a["spin"] == a["spin"].transpose(0, 2, 1)
    assert least(distance[same & apart]) >= 3
    opposite = distance[~same & apart]
    assert not ((opposite >= 1) & (opposite < 1.625)).any()
    assert (opposite < 1).any()  # Quirk W8: they do overlap
    assert least(a["core"]) >= 0.5
    assert np.nanmax(a["core"]) <= 54.5


def test_headings_and_first_motion() -> None:
    """Quirk W6: robots start at rest with no current in their velocity, although there is one."""
    scenario = drawn(USUAL, 100)
    assert (scenario.initial[3:] == 0).all()
    assert scenario.initial[2].min() >= 0
    assert scenario.initial[2].max() < 2 * np.pi
    assert (scenario.counts[0] == 5).all()
    assert (scenario.initial[:, 5:] == 0).all()
