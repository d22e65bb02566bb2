"""The benchmark's clock, turns, loops and command line, with a faked clock and small runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from scripts import benchmark
from scripts.measuring import pipelines
from scripts.measuring.pipelines import Bench, Clock, Loop, Round, Way, in_turns
from scripts.measuring.scope import Scope

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
    "learning_starts": 50,
    "buffer_size": 2000,
    "batch_size": 8,
}


class FakeTime:
    """Time that passes only when told to; CPU time runs at half its pace."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0
        self.clock = Clock(self.wait, lambda: self.now, lambda: self.now / 2)

    def wait(self) -> None:
        self.waits += 1


class FakeTrainer:
    """Steps of 4 environments that take 3 s."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.timestep = 0
        self.loop = Loop("fake", self.learn, lambda: self.timestep, agent=None)

    def learn(self, between_steps: Callable[[], None]) -> None:
        while True:
            self.time.now += 3.0
            self.timestep += 4
            between_steps()


def test_a_round_is_whole_steps_from_where_it_begins():
    trainer = FakeTrainer()
    begin, enough = (lambda: trainer.timestep >= 8), (lambda passed: passed >= 7.0)
    assert trainer.loop.round(trainer.time.clock, begin, enough) == Round(amount=12, wall=9.0, cpu=4.5)
    assert trainer.timestep == 20  # 8 of them before
    assert trainer.time.waits == 2  # for the device, at both ends only
    again = trainer.loop.round(trainer.time.clock, lambda: True, enough)
    assert (again, trainer.timestep) == (Round(12, 9.0, 4.5), 36)


def test_ways_take_turns_and_ratios_pair_their_rounds():
    turns = []

    def way(name: str, amounts: list[int]) -> Way:
        def one(number: int) -> Round:
            turns.append(name)
            return Round(amounts[number], wall=2.0**number, cpu=2.0**number / 4)

        return Way(name, one, lambda: {"act": 1.0 * turns.count(name)})

    legacy, ours = in_turns([way("legacy", [10, 10, 10]), way("ours", [30, 30, 400])], 3, agent="DQN")
    assert turns == ["legacy", "ours", "ours", "legacy", "legacy", "ours"]
    assert (legacy["x_wall"], ours["x_wall"], ours["x_cpu"]) == (1.0, 3.0, 3.0)
    assert (ours["per_s"], ours["per_cpu_s"]) == (30.0, 120.0)
    assert ours["parts_us"] == {"act": pytest.approx(3e6 / 460)}
    assert ours["rounds"][2] == {"amount": 400, "wall": 4.0, "cpu": 1.0}
    assert (ours["agent"], ours["pipeline"]) == ("DQN", "ours")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Scope(compile=False, warm_up=20), CONFIG, Clock(), tmp_path)


@pytest.mark.parametrize("num_envs", [0, 1, 4], ids=["legacy", "reproduction", "throughput"])
def test_loops_count_the_steps_that_their_worlds_make(num_envs, bench):
    trial = bench.trial("DQN", **bench.fast(num_envs))
    loop = bench.torchrl_loop(trial) if num_envs else bench.legacy_loop(trial)
    steps = max(num_envs, 1)
    first = loop.round(bench.clock, lambda: True, lambda _: loop.timestep() > 60)
    before = loop.parts()
    assert first.amount == loop.timestep() - 1 - steps  # timestep 0 is left out, and the first step
    more = loop.round(bench.clock, lambda: True, lambda passed: passed >= 0.1)
    assert more.amount % steps == 0
    assert more.wall >= 0.1
    if num_envs:
        parts = loop.parts()
        assert {"act", "step", "store", "sample", "update", "other"} <= set(parts)
        longer = {part for part in parts if parts[part] > before[part]}
        assert longer == set(parts) - {"evaluate"}  # that is done where learning starts, in the warm-up
    assert loop.timestep() == 1 + first.amount + more.amount + 2 * steps


def test_collection_learns_nothing(bench):
    keys = {"total_timesteps": pipelines.NEVER + 1, "learning_starts": pipelines.NEVER}
    loop = bench.torchrl_loop(bench.trial("DQN", **bench.fast(4), **keys))
    before = [weight.clone() for weight in loop.weights()]
    loop.round(bench.clock, lambda: True, lambda _: loop.timestep() > 60)
    assert all((a == b).all() for a, b in zip(before, loop.weights(), strict=True))
    assert "update" not in loop.parts()


def test_everything_is_measured_and_written(tmp_path, capsys, monkeypatch):
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 10)
    config, output = tmp_path / "config.json", tmp_path / "b.json"
    config.write_text(json.dumps(CONFIG))
    arguments = (
        f"-C {config} --agents DQN --stage 0 --num-envs 1 2 --collect-envs 2 --sizes 100 200 --rounds 1"
    )
    arguments += f" --timesteps 100 --seconds 0.05 --warm-up 20 --no-compile -o {output}"
    assert benchmark.main(arguments.split()) == 0
    results = json.loads(output.read_text())
    assert results["command"] == f"python scripts/benchmark.py {arguments}"
    names = {name: [row["pipeline"] for row in results[name]] for name in benchmark.MEASUREMENTS}
    assert names["training"] == ["legacy", "TorchRL, E = 1", "TorchRL, E = 2"]
    assert names["collection"] == ["legacy", "TorchRL, E = 2"]
    assert names["reproduction"] == ["legacy", "TorchRL, E = 1"]
    assert names["evaluation"] == ["legacy", "TorchRL, side by side"]
    assert len(names["replay"]) == 12
    for name in names:
        assert results[name][0]["x_wall"] == 1.0
        assert all(row["per_s"] > 0 for row in results[name])
    assert results["evaluation"][0]["rounds"][0]["amount"] == 2
    assert {"cpu", "cores", "torch_threads", "device", "load_average"} <= results["machine"].keys()
    assert {"torch", "torchrl", "python", "marinenav"} <= results["versions"].keys()
    printed = capsys.readouterr().out
    assert "TorchRL, prioritised" in printed
    assert "us by part" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-C", "missing.json"], "missing.json: No such file or directory"),
        (["-C", "fast.json"], "not allowed in the legacy pipeline"),
        (["-C", "config.json", "--agents", "PPO"], "--agents PPO: must be of AC-IQN,"),
        (["-C", "config.json", "--stage", "2"], "stage 2 does not exist; allowed are -2 to 1"),
        (["-C", "config.json", "--device", "tpu"], "device 'tpu' is unknown"),
        (["-C", "config.json", "--output", "b.txt"], "b.txt: unknown kind of output"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "fast.json").write_text(json.dumps(CONFIG | {"num_envs": 8, "backend": "torch"}))
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "fast.json"]


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--seconds", "nan"], ["--measure", "speed"]])
def test_bad_usage_is_status_2(arguments):
    with pytest.raises(SystemExit) as exit_status:
        benchmark.main(arguments)
    assert exit_status.value.code == 2
