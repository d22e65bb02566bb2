"""Speed of the TorchRL pipeline as ratios to the legacy one, in turns; the targets are for 2 CPU cores.

Nothing here asserts a time. `scripts/benchmark_pipelines.py` measures more, and longer.
"""

import statistics
from pathlib import Path

import pytest

from agents.agent import ALGORITHMS
from scripts.benchmarking.measuring import Round, measure, run_until
from scripts.benchmarking.parts import measure_evaluation, measure_replay
from scripts.benchmarking.pipelines import LegacyPipeline, TorchRLPipeline, make_trial
from scripts.benchmarking.report import evaluation_rows, evaluation_table, replay_table
from torchrl_gpu.settings.parse import Trial, read_config

CONFIG = Path(__file__).parents[2] / "config" / "ac_iqn.json"
FAST = {"backend": "torch", "compile": True}
SECONDS = 3.0
STORED = 5000
THROUGHPUT = {"AC-IQN": 4, "IQN": 4, "SAC": 4, "DDPG": 6, "DQN": 12, "Rainbow": 2.5}
"""Target of the ratio of timesteps/s, 1024 environments."""

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def trial() -> Trial:
    return read_config(CONFIG).trials[0]


def compare(benchmark, legacy: LegacyPipeline, ours: TorchRLPipeline, target: float) -> None:
    """Rounds in turns; the benchmark's own figure is the wall time of a round of both."""
    rounds: list[tuple[Round, Round]] = []
    benchmark.pedantic(lambda: rounds.append((measure(legacy, SECONDS), measure(ours, SECONDS))), rounds=3)
    ratio = statistics.median((b.counts.timesteps / b.cpu) / (a.counts.timesteps / a.cpu) for a, b in rounds)
    rate = statistics.median(b.counts.timesteps / b.wall for _, b in rounds)
    benchmark.extra_info.update(ratio=round(ratio, 2), target=target, timesteps_per_second=round(rate))
    print(f"\n{ratio:.2f} times the legacy pipeline (target {target}), {rate:,.0f} timesteps/s")


def fill(*pipelines: LegacyPipeline | TorchRLPipeline) -> None:
    for pipeline in pipelines:
        run_until(pipeline, lambda counts: counts.transitions >= STORED)


def learn(*pipelines: LegacyPipeline | TorchRLPipeline) -> None:
    fill(*pipelines)
    for pipeline in pipelines:
        pipeline.start_learning()
        measure(pipeline, 0.0, warm_up=2)


@pytest.mark.parametrize("agent", ALGORITHMS)
def test_reproduction_mode(benchmark, trial, agent, tmp_path):
    made = make_trial(trial, agent, -1)
    legacy, ours = LegacyPipeline(made, "cpu"), TorchRLPipeline(made, "cpu", tmp_path)
    learn(legacy, ours)
    compare(benchmark, legacy, ours, 1.0)


@pytest.mark.parametrize("agent", ALGORITHMS)
def test_throughput_mode(benchmark, trial, agent, tmp_path):
    fast = make_trial(trial, agent, -1, num_envs=1024, **FAST)
    legacy = LegacyPipeline(make_trial(trial, agent, -1), "cpu")
    ours = TorchRLPipeline(fast, "cpu", tmp_path)
    learn(legacy, ours)
    compare(benchmark, legacy, ours, THROUGHPUT[agent])


@pytest.mark.parametrize("agent", ["AC-IQN", "DQN"])
def test_collection_alone(benchmark, trial, agent, tmp_path):
    legacy = LegacyPipeline(make_trial(trial, agent, -1), "cpu")
    ours = TorchRLPipeline(make_trial(trial, agent, -1, num_envs=4096, **FAST), "cpu", tmp_path)
    fill(legacy, ours)
    compare(benchmark, legacy, ours, 200.0)


def test_evaluation_of_60_episodes(benchmark, trial):
    rows = benchmark.pedantic(lambda: evaluation_rows(measure_evaluation(trial, "cpu", 1, True)), rounds=1)
    benchmark.extra_info.update(ratio=round(rows[1]["ratio_cpu"], 1), target=20)
    print("\n" + evaluation_table(rows))


def test_replay_at_growing_sizes(benchmark, trial):
    sizes = [10**4, 10**5, 10**6]
    rows = benchmark.pedantic(lambda: measure_replay(trial, "cpu", sizes, 30), rounds=1)
    benchmark.extra_info["sample_64_us"] = {
        f"{row['memory']} {row['stored']}": round(row["sample_64_us"]["cpu"]) for row in rows
    }
    print("\n" + replay_table(rows))
