"""Speed of the TorchRL pipeline as ratios to the legacy one, in turns; the targets are for 2 CPU cores.

Nothing here asserts a time. `scripts/benchmark.py` measures more, and longer.
"""

from pathlib import Path

import pytest

from agents.learners import LEARNERS
from scripts.benchmark import rates_table
from scripts.measuring import pipelines
from scripts.measuring.pipelines import Bench, Clock, Row
from scripts.measuring.scope import Scope, without_sweeps
from torchrl_gpu.settings.parse import read_config

CONFIG = Path(__file__).parents[2] / "config" / "ac_iqn.json"
THROUGHPUT = {"AC-IQN": 4, "IQN": 4, "SAC": 4, "DDPG": 6, "DQN": 12, "Rainbow": 2.5}
"""Target of the ratio of timesteps/s, 1024 environments."""

pytestmark = pytest.mark.benchmark


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Scope(seconds=3), without_sweeps(read_config(CONFIG).written), Clock(), tmp_path)


def show(benchmark, measure, target: float | None = None) -> None:
    """Measure; the benchmark's own figure is the wall time of all of it."""
    rows: list[Row] = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(ratio=round(rows[-1]["x_cpu"], 2), target=target)
    print(f"\n{rates_table(rows)}\ntarget {target}")


@pytest.mark.parametrize("agent", LEARNERS)
def test_reproduction_mode(benchmark, bench, agent):
    show(benchmark, lambda: pipelines.reproduction(bench, agent), 1.0)


@pytest.mark.parametrize("agent", LEARNERS)
def test_throughput_mode(benchmark, bench, agent):
    show(benchmark, lambda: pipelines.training(bench, agent), THROUGHPUT.get(agent))


@pytest.mark.parametrize("agent", ["AC-IQN", "DQN"])
def test_collection_alone(benchmark, bench, agent):
    show(benchmark, lambda: pipelines.collection(bench, agent), 200.0)


def test_evaluation_of_60_episodes(benchmark, bench):
    show(benchmark, lambda: pipelines.evaluation(bench, "AC-IQN"), 20.0)


def test_replay_at_growing_sizes(benchmark, bench):
    show(benchmark, lambda: pipelines.replay(bench))
