"""What the check of a GPU compares, on a simulated one; that it notices what differs; what it concludes."""

import argparse
from pathlib import Path

import pytest
import torch

from scripts.gpu_check import goals
from scripts.measuring import gpu, parity
from scripts.measuring.gpu import Check, Part, without_kernels
from tests.contract.simulated_gpu import simulated_gpu
from torchrl_gpu.experiment import build_agent

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(parity, "STEPS", 2)
    monkeypatch.setattr(parity, "UPDATES", 2)
    args = argparse.Namespace(device="cpu", num_envs=2, seconds=0.01, compile=False, agents=["DQN"])
    return Check(args, tmp_path)


@no_gpu
def test_worlds_are_compared_across_devices(check: Check) -> None:
    with simulated_gpu():
        [row] = parity.worlds(2, "cuda")
    assert (row["observations"], row["rewards"], row["equal outcomes"]) == (0.0, 0.0, 1.0)


def test_no_number_is_a_difference(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parity.largest([float("nan"), 1.0]) != parity.largest([1.0, 1.0])
    row = {"observations": float("nan"), "rewards": 0.0, "equal outcomes": 1.0}
    monkeypatch.setattr(parity, "worlds", lambda *args: [row])
    part = Part(float("inf"))
    gpu.world_parity(check, part)
    assert part.failed


@no_gpu
@pytest.mark.parametrize("agent", ["AC-IQN", "Rainbow", "SAC"])
def test_updates_are_compared_across_devices(agent: str, check: Check) -> None:
    bench = check.bench()
    with simulated_gpu():
        [row] = parity.updates(bench, agent, "cuda")
    assert [value for name, value in row.items() if "float" in name] == [0.0] * 4


def test_an_update_that_differs_is_a_failure(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build(trial, device):
        built.append(build_agent(trial, device))
        built[-1].learner.change(discount=0.99 - 1e-4 * (len(built) % 2))
        return built[-1]

    monkeypatch.setattr(parity, "build_agent", build)
    part = Part(float("inf"))
    gpu.update_parity(check, part)
    assert part.failed == ["DQN: float64 differs by more than 1e-06"]


def test_a_world_that_differs_is_a_failure(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sloppy(parity.VectorWorld):
        made = 0

        def load(self, episodes):
            Sloppy.made += 1
            rows = super().load(episodes)
            self.params.robot[:] *= 1 + 1e-5 * Sloppy.made
            return rows

    monkeypatch.setattr(parity, "VectorWorld", Sloppy)
    part = Part(float("inf"))
    gpu.world_parity(check, part)
    assert part.failed == ["the worlds differ by more than 1e-06, or in outcomes"]
    assert part.rows[0]["observations"] > 1e-6


def test_a_failure_is_a_line_and_the_next_goes_on_until_time_is_up() -> None:
    part = Part(float("inf"))

    def broken(check, part):
        part.add("one", lambda: 1 / 0)
        part.add("two", lambda: [{"a": 1}])
        part.deadline = 0.0
        part.add("three", lambda: [{"a": 2}])
        raise RuntimeError("the rest\nof it")

    part.run(broken, None)
    assert part.rows == [{"a": 1}]
    assert part.failed == ["one: ZeroDivisionError: division by zero", "RuntimeError: the rest of it"]
    assert part.left_out == ["three: no time left"]


def test_time_without_kernels_counts_overlaps_once() -> None:
    assert without_kernels([(4.0, 5.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6), (5.0, 10.0)]) == 0.1
    with pytest.raises(ValueError, match="saw no kernel"):
        without_kernels([])


def test_goals_are_for_a_gpu() -> None:
    def part(rows):
        return Part(0.0, rows)

    def row(measure, pipeline, per_s, agent="AC-IQN"):
        return {"agent": agent, "measure": measure, "pipeline": pipeline, "per_s": per_s}

    parts = {
        "world-speed": part([{"robot-steps/s": 3e7}, {"robot-steps/s": 1.5e8}]),
        "learners": part(
            [
                row("update", "products alone", 1e5),
                row("update", "eager", 300.0),
                row("update", "CUDA graph", 2500.0),
                row("training", "TorchRL, E = 1024", 12_500.0, agent="DQN"),
                row("training", "TorchRL, E = 1024", 8000.0),
            ]
        ),
        "kernels": part([{"waits per 1000 timesteps": 0.0}]),
    }
    verdicts = [each["verdict"] for each in goals(parts, on_gpu=True)]
    assert verdicts == ["reached: 150,000,000", "missed: 0.4", "missed: 12.5", "reached: 0"]
    assert {each["verdict"] for each in goals(parts, on_gpu=False)} == {"not measured"}
    assert {each["verdict"] for each in goals({}, on_gpu=True)} == {"not measured"}
