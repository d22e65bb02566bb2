"""The benchmark's counters, clocks and command line, with a faked clock and small runs."""

import json
from collections.abc import Callable

import pytest

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from scripts import benchmark_pipelines
from scripts.benchmarking import report
from scripts.benchmarking.measuring import Clock, Counts, Round, Stopwatch, measure, run_until
from scripts.benchmarking.pipelines import LegacyPipeline, TorchRLPipeline, make_trial
from torchrl_gpu.settings.parse import make_trials

CONFIG = {
    "seed": 3,
    "total_timesteps": 100,
    "eval_freq": 50,
    "save_dir": "unused",
    "training_schedule": {
        "timesteps": [0, 10],
        "num_robots": [1, 3],
        "num_cores": [0, 0],
        "num_obstacles": [0, 2],
        "min_start_goal_dis": [10.0, 15.0],
    },
    "eval_schedule": {
        "num_episodes": [2],
        "num_robots": [1],
        "num_cores": [0],
        "num_obstacles": [0],
        "min_start_goal_dis": [2.0],
    },
    "imitation_learning": False,
    "agent_type": "DQN",
    "buffer_size": 2000,
    "batch_size": 8,
}


class FakeTime:
    """Time that passes only when told to; CPU time runs at half its pace."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0
        half = self.half
        self.clock = Clock(self.wait, lambda: self.now, half, lambda: self.now)

    def half(self) -> float:
        return self.now / 2

    def wait(self) -> None:
        self.waits += 1


class FakePipeline:
    """Cycles of 3 s: 1 s of acting, which contains 0.25 s of storing, then 2 s of nothing in particular."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.stopwatch = Stopwatch(self.time.clock)
        self.cycles = 0

    def counts(self) -> Counts:
        return Counts(4 * self.cycles, 10 * self.cycles, self.cycles)

    def run(self, boundary: Callable[[], None]) -> None:
        while True:
            boundary()
            with self.stopwatch.section("act"):
                self.time.now += 0.75
                with self.stopwatch.section("store"):
                    self.time.now += 0.25
            self.time.now += 2.0
            self.cycles += 1


def test_a_round_is_whole_cycles_after_the_warm_up():
    pipeline = FakePipeline()
    measured = measure(pipeline, 7.0, warm_up=2)
    assert measured == Round(Counts(12, 30, 3), wall=9.0, cpu=4.5, split={})
    assert pipeline.cycles == 5  # two of them warm-up
    assert pipeline.time.waits == 2  # for the device, at both ends only


def test_the_split_gives_nested_time_to_the_inner_section_and_adds_up():
    measured = measure(FakePipeline(), 1.0, split=True)
    assert measured.split == {"act": 0.75, "store": 0.25, "other": 2.0}
    row = report.split_us(measured)
    assert row == {
        "act": 187_500.0,
        "step": 0.0,
        "store": 62_500.0,
        "sample": 0.0,
        "update": 0.0,
        "other": 500_000.0,
    }
    assert sum(row.values()) == 1e6 * measured.wall / measured.counts.timesteps


def test_batches_made_one_by_one_are_timed_as_they_are_made():
    time = FakeTime()

    class Memory:
        def sample(self, number: int):
            for k in range(number):
                time.now += 1.0
                yield k

    memory, watch = Memory(), Stopwatch(time.clock)
    watch.wrap_iteration(memory, "sample", "sample")
    watch.start()
    for _ in memory.sample(3):
        time.now += 10.0
    watch.stop()
    assert watch.seconds == {"sample": 3.0, "other": 30.0}


def test_ratios_pair_the_rounds():
    def one(timesteps: int, wall: float) -> Round:
        return Round(Counts(timesteps, 2 * timesteps, 1), wall, wall / 4, {})

    legacy = [one(10, 1.0), one(10, 2.0), one(10, 4.0)]
    ours = [one(30, 1.0), one(30, 2.0), one(400, 4.0)]
    row = report.loop_row({"agent": "DQN"}, ours, legacy, measure(FakePipeline(), 1.0, split=True))
    assert row["ratio_wall"] == row["ratio_cpu"] == row["ratio_transitions_cpu"] == 3.0
    assert (row["timesteps_per_s"], row["transitions_per_s"]) == (30.0, 60.0)
    assert row["timesteps_per_cpu_s"] == 120.0


@pytest.mark.parametrize("num_envs", [0, 1, 4], ids=["legacy", "reproduction", "throughput"])
def test_pipelines_count_what_their_worlds_and_memories_saw(num_envs, tmp_path):
    [trial] = make_trials(CONFIG)
    keys = {"num_envs": num_envs, "backend": "torch"} if num_envs > 1 else {}
    made = make_trial(trial, "DQN", -1, **keys)
    pipeline = TorchRLPipeline(made, "cpu", tmp_path) if num_envs else LegacyPipeline(made, "cpu")
    run_until(pipeline, lambda counts: counts.transitions >= 40)
    filled = pipeline.counts()
    assert filled.updates == 0
    assert 40 <= filled.transitions <= filled.timesteps * 3
    pipeline.start_learning()
    measured = measure(pipeline, 0.2, split=True)
    now, counts = pipeline.counts(), measured.counts
    if num_envs:
        assert pipeline.trainer.env.world.total_timesteps == now.timesteps
        assert len(pipeline.trainer.replay.buffer) == min(now.transitions, CONFIG["buffer_size"])
    else:
        assert len(pipeline.trainer.rl_agent.memory.memory) == min(now.transitions, CONFIG["buffer_size"])
    assert counts.timesteps % max(num_envs, 1) == 0
    assert abs(counts.updates - counts.timesteps / 4) < 1
    assert set(measured.split) == {"act", "step", "store", "sample", "update", "other"}
    assert sum(measured.split.values()) == pytest.approx(measured.cpu, rel=0.05)
    # Nothing was evaluated inside the loop.
    assert len(pipeline.trainer.record) == 0


def test_everything_is_measured_and_written(tmp_path, capsys, monkeypatch):
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 10)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    output, plot = tmp_path / "b.json", tmp_path / "b.png"
    arguments = f"-C {config} --agents DQN --stage 0 --num-envs 2 --collect-envs 2 --sizes 100 200 --rounds 1"
    arguments += f" --timesteps 100 --seconds 0.05 --stored 20 --no-compile --output {output} --plot {plot}"
    assert benchmark_pipelines.main(arguments.split()) == 0
    results = json.loads(output.read_text())
    assert results["command"] == f"python scripts/benchmark_pipelines.py {arguments}"
    for name in ("training", "collection"):
        assert [(row["pipeline"], row["num_envs"]) for row in results[name]] == [
            ("legacy", 1),
            ("torchrl", 2),
        ]
        assert all(row["split_us"]["evaluate"] > 0 for row in results[name])
    assert results["training"][0]["ratio_wall"] == 1.0
    assert [row["pipeline"] for row in results["reproduction"]] == ["legacy", "torchrl"]
    assert all(row["cpu_ms_per_timestep"] > 0 for row in results["reproduction"])
    assert results["training"][1]["updates_per_s"] > 0 == results["collection"][1]["updates_per_s"]
    assert [row["episodes"] for row in results["evaluation"]] == [2, 2]
    assert len(results["replay"]) == 6
    assert all(row["sample_64_us"]["wall"] > 0 for row in results["replay"])
    assert {"cpu", "cores", "torch_threads", "device", "load_average"} <= results["machine"].keys()
    assert {"torch", "torchrl", "python", "marinenav"} <= results["versions"].keys()
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "TorchRL, E = 2" in printed
    assert "torchrl prioritised" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-C", "missing.json"], "missing.json: No such file or directory"),
        (["-C", "fast.json"], "the legacy pipeline knows no num_envs, backend"),
        (["-C", "config.json", "--stage", "2"], "stage 2 does not exist; allowed are -2 to 1"),
        (["-C", "config.json", "--device", "tpu"], "device 'tpu' is unknown"),
        (["-C", "config.json", "--output", "b.txt"], "b.txt: unknown kind of output"),
        (["-C", "config.json", "--plot", "none/b.png"], "the folder none does not exist"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "fast.json").write_text(json.dumps(CONFIG | {"num_envs": 8, "backend": "torch"}))
    assert benchmark_pipelines.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "fast.json"]


@pytest.mark.parametrize(
    "arguments", [["--agents", "PPO"], ["--rounds", "0"], ["--seconds", "nan"], ["--measure", "speed"]]
)
def test_bad_usage_is_status_2(arguments):
    with pytest.raises(SystemExit) as exit_status:
        benchmark_pipelines.main(arguments)
    assert exit_status.value.code == 2
