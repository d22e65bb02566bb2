"""Speed of the tensor world beside the NumPy world; `pytest -m benchmark -s` on it prints the table."""

import pytest
import torch

from marinenav_env.envs.torchrl_gpu.world import Stage, VectorWorld
from marinenav_env.envs.torchrl_gpu.world_benchmark import ROBOTS, Row, measure, measure_one, table


@pytest.mark.benchmark
@pytest.mark.parametrize("num_cores", [0, 8])
def test_cost_is_linear_beyond_saturation(num_cores: int) -> None:
    """Four times the environments take no more than five and a half times as long."""
    small, large = (measure_one(envs, num_cores, seconds=3.0) for envs in (1024, 4096))
    assert large.rate > small.rate * 4 / 5.5


@pytest.mark.benchmark
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_table(device: str) -> None:
    rows = measure(device=device)
    print(f"\n{torch.__version__}, {torch.get_num_threads()} thread(s)\n{table(rows)}")
    eager = {row.num_envs: row for row in rows if not row.compiled and row.num_cores == 0}
    compiled = {row.num_envs: row for row in rows if row.compiled and row.num_cores == 0}
    assert eager[4096].ratio > 20
    assert compiled[4096].rate > eager[4096].rate


@pytest.mark.benchmark
@pytest.mark.parametrize("num_cores", [0, 8])
def test_scenarios(benchmark: pytest.FixtureRequest, num_cores: int) -> None:
    """Drawing 1024 beginnings of episodes, first observation included."""
    world = VectorWorld(512, ROBOTS, num_cores, 4)
    world.set_scenario(Stage(ROBOTS, num_cores, 4, 40.0))

    def draw() -> None:
        world.seed(0)
        world.reset()

    benchmark(draw)


def test_the_counter_counts_robots_in_the_water() -> None:
    row = measure_one(2, 0, seconds=0.1)
    assert row.rate > 0
    assert row.short > 0
    assert row.dynamics > 0  # measured apart from the whole, so that under load a share may exceed it
    assert row.perception > 0
    assert 0 <= row.reset < 1
    assert len(table([row, row._replace(compiled=True, dynamics=float("nan"))]).splitlines()) == 4
    assert isinstance(row, Row)
