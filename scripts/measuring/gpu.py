"""What `scripts/gpu_check.py` does on a device, part after part; speeds are measured as benchmarks do."""

import argparse
import gc
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

import config
from marinenav_env.envs.torchrl_gpu.compilation import reason
from scripts.measuring import parity, pipelines, updates
from scripts.measuring.pipelines import Bench, Clock, Loop, Row
from scripts.measuring.scope import Scope, without_sweeps
from scripts.measuring.worlds import new_world, rate_of
from torchrl_gpu import api
from torchrl_gpu.learn.ways import can_compile
from torchrl_gpu.runs.surroundings import machine, versions
from torchrl_gpu.settings.parse import read_config

ROOT = Path(__file__).parents[2]
CONFIGS = Path(config.__file__).parent
COMPILED = "AC-IQN"
"""The learner that is also measured compiled, which takes minutes for all of them."""
SCHEDULE = 6_000_000
"""Timesteps of the legacy schedule."""
SHORT_RUN = 500_000
"""Timesteps for which "auto" compiles nothing on a GPU; updates are a CUDA graph nevertheless."""
EPISODES, EPISODE_SEED = 200, 1000
APART = 1e-6
"""How far float64 numbers of two devices may be apart: rounding grows, but stays far below."""


@dataclass
class Part:
    """What a part has found so far; ``failed`` says what failed why, ``left_out`` what was not tried."""

    deadline: float  # `time.monotonic`
    rows: list[Row] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, work: "Callable[[Check, Part], None]", check: "Check") -> None:
        """Do it all; whatever happens, the memory of a GPU is free for the next one."""
        begin = time.monotonic()
        try:
            work(check, self)
        except Exception as error:
            self.failed.append(reason(error))
        self.seconds = time.monotonic() - begin
        gc.collect()
        torch.cuda.empty_cache()

    def add(self, what: str, measure: Callable[[], list[Row]]) -> None:
        """Add rows of a measurement, or why there are none."""
        if time.monotonic() > self.deadline and self.rows:  # at least the first one has its turn
            self.left_out.append(f"{what}: no time left")
            return
        try:
            self.rows += measure()
        except Exception as error:
            self.failed.append(f"{what}: {reason(error)}")


class Check(NamedTuple):
    """What is asked for, and a folder for trainings."""

    args: argparse.Namespace
    folder: Path

    @property
    def on_gpu(self) -> bool:
        """Whether the device is one."""
        return torch.device(self.args.device).type == "cuda"

    def compiled(self, agent: str) -> bool:
        """Whether a learner is measured compiled."""
        return self.args.compile and agent == COMPILED

    def bench(self, compile: bool | str = False, device: str | None = None) -> Bench:
        """What measures on the device, or on another one."""
        device = device or self.args.device
        scope = Scope(
            device=device,
            num_envs=[self.args.num_envs],
            collect_envs=[4 * self.args.num_envs],
            rounds=1,
            seconds=self.args.seconds,
            warm_up=200,
            compile=compile,
        )
        written = without_sweeps(read_config(CONFIGS / "ac_iqn.json").written)
        return Bench(scope, written, Clock.of(device), self.folder)


def surroundings(check: Check, part: Part) -> None:
    """Machine and versions."""
    found = machine(check.args.device) | versions()
    if check.on_gpu:
        memory = torch.cuda.get_device_properties(check.args.device).total_memory
        found |= {"CUDA": torch.version.cuda, "GPU memory (GiB)": memory / 2**30}
    found["can compile"] = can_compile(torch.device(check.args.device).type)
    part.rows += [{"what": name, "value": value} for name, value in found.items()]


def gpu_tests(check: Check, part: Part) -> None:
    """Tests that need a GPU, in a process of their own."""
    if not check.on_gpu:
        part.left_out.append("tests marked gpu: the device is no GPU")
        return
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8")]
    if not files:
        raise FileNotFoundError(f"{ROOT}/tests: no tests; they are in a checkout only")
    options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "-m", "gpu and not slow and not benchmark"]
    words = [sys.executable, "-m", "pytest", *options, *map(str, sorted(files))]
    left = part.deadline - time.monotonic()
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"the tests were not done after {left:.0f} s") from None
    said = (done.stdout.strip() or done.stderr.strip() or "nothing was said").splitlines()
    part.rows.append({"tests": said[-1].strip("= ")})
    if done.returncode:
        part.failed += [line for line in said if line.startswith(("FAILED", "ERROR"))] or [said[-1]]


def world_parity(check: Check, part: Part) -> None:
    """The same episodes and actions in two worlds of float64."""
    part.add("world", partial(parity.worlds, check.args.num_envs, check.args.device))
    for row in part.rows:
        near = row["observations"] <= APART and row["rewards"] <= APART  # not so where one is NaN
        if not near or row["equal outcomes"] < 1:
            part.failed.append(f"the worlds differ by more than {APART:g}, or in outcomes")


def update_parity(check: Check, part: Part) -> None:
    """Twenty updates of each learner from equal weights, batches and noise."""
    bench = check.bench(device="cpu")
    for agent in check.args.agents:
        part.add(agent, partial(parity.updates, bench, agent, check.args.device))
    for row in part.rows:
        if not (row["losses, float64"] <= APART and row["weights, float64"] <= APART):
            part.failed.append(f"{row['agent']}: float64 differs by more than {APART:g}")


def world_speed(check: Check, part: Part) -> None:
    """Robot-steps in a second, the compiled ones beginning with most environments."""
    for compiled in (False, True)[: 1 + check.args.compile]:
        for num_envs in sorted(check.args.world_envs, reverse=compiled):
            name = f"{num_envs} environments, {'compiled' if compiled else 'eager'}"
            part.add(name, partial(world_rate, check, num_envs, compiled))


def world_rate(check: Check, num_envs: int, compiled: bool) -> list[Row]:
    """Of one world."""
    world = new_world(num_envs, device=check.args.device, compile=compiled)
    rate = rate_of(world, check.args.seconds)
    return [{"environments": num_envs, "compiled": compiled, "robot-steps/s": rate}]


def learners(check: Check, part: Part) -> None:
    """Benchmarks of each learner, without the legacy pipeline; those that take longest come last."""

    def training(bench: Bench, agent: str) -> list[Row]:
        return pipelines.loops(bench, agent, bench.scope.num_envs, legacy=False, **long_run(check, agent))

    measured = {
        "update": updates.update,
        "training": training,
        "collection": partial(pipelines.collection, legacy=False),
        "evaluation": partial(pipelines.evaluation, legacy=False),
    }
    for name, measure in measured.items():
        for agent in check.args.agents:
            compile: bool | str = check.compiled(agent)
            bench = check.bench("auto" if name == "training" and check.on_gpu else compile)
            label = {"measure": name, "compiled": bool(compile)}
            part.add(f"{name} of {agent}", lambda: [label | row for row in measure(bench, agent)])  # noqa: B023


def long_run(check: Check, agent: str) -> dict[str, int]:
    """Keys of a training loop that learns at once; "auto" goes by the length of the run."""
    length = SCHEDULE if check.compiled(agent) or not check.on_gpu else SHORT_RUN
    return {"learning_starts": 0, "total_timesteps": length}


def kernels(check: Check, part: Part) -> None:
    """What the device does in a training loop of AC-IQN, and the memory that it takes."""
    if not check.on_gpu:
        part.left_out.append("time without kernels, waits of the host: the device is no GPU")
    part.add("loop", partial(in_a_loop, check))


def in_a_loop(check: Check) -> list[Row]:
    """One row, from a loop that has warmed up."""
    bench, num_envs = check.bench("auto" if check.on_gpu else False), check.args.num_envs
    keys = bench.fast(num_envs) | long_run(check, COMPILED)
    loop = bench.torchrl_loop(bench.trial(COMPILED, **keys))
    loop.round(bench.clock, lambda: loop.timestep() > 3 * num_envs, lambda _: True)
    row = {"agent": COMPILED, "environments": num_envs}
    if not check.on_gpu:
        return [row | {"resident memory (GiB)": psutil.Process().memory_info().rss / 2**30}]
    torch.cuda.reset_peak_memory_stats(check.args.device)
    row |= host_waits(loop, check.args.seconds)
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profile:
        loop.round(Clock(), lambda: True, lambda _: True)
    found = [event for event in profile.events() if event.device_type == DeviceType.CUDA]
    times = [(e.time_range.start, e.time_range.end) for e in found if not e.is_user_annotation]
    memory = torch.cuda.max_memory_allocated(check.args.device) / 2**30
    row |= {"kernels": len(times), "share of time without": without_kernels(times)}
    return [row | {"peak memory (GiB)": memory}]


def host_waits(loop: Loop, seconds: float) -> Row:
    """How often the host waits for the GPU in so much of a loop, and where first."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            done = loop.round(Clock(), lambda: True, lambda passed: passed >= seconds)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [each for each in said if "called a synchronizing" in str(each.message)]
    where = f"{waits[0].filename}:{waits[0].lineno}" if waits else ""
    return {"waits per 1000 timesteps": 1000 * len(waits) / done.amount, "first wait": where}


def without_kernels(times: Iterable[tuple[float, float]]) -> float:
    """Share of the time from the first beginning to the last end in which nothing runs."""
    times = sorted(times)
    if not times:
        raise ValueError("the profiler saw no kernel")
    (begin, last), idle = times[0], 0.0
    for start, end in times:
        idle += max(0.0, start - last)
        last = max(last, end)
    return idle / (last - begin)


def recipe(check: Check, part: Part) -> None:
    """The quickstart, then fresh episodes."""
    part.add("quickstart", partial(trained, check))


def trained(check: Check) -> list[Row]:
    """One row: minutes of a training that evaluates at its end, and how often what it learned succeeds."""
    length = check.args.recipe_timesteps
    written: dict[str, Any] = json.loads((CONFIGS / "quickstart.json").read_text("utf-8"))
    written |= {"total_timesteps": length, "eval_freq": length, "save_dir": str(check.folder)}
    device, begin = check.args.device, time.monotonic()
    result = api.train(written | {"compile": "auto"}, device=device)
    minutes = (time.monotonic() - begin) / 60
    options = {"device": device, "episode_seed": EPISODE_SEED, "per_stage": EPISODES, "batched": True}
    metrics = api.evaluate(result.folder, written, **options).metrics
    row = {"timesteps": length, "minutes": minutes, "episodes": metrics.episodes}
    return [row | {"success": metrics.success_rate}]


PARTS: dict[str, tuple[Callable[[Check, Part], None], int]] = {
    "machine": (surroundings, 1),
    "tests": (gpu_tests, 25),
    "world-parity": (world_parity, 2),
    "update-parity": (update_parity, 5),
    "world-speed": (world_speed, 20),
    "learners": (learners, 24),
    "kernels": (kernels, 6),
    "recipe": (recipe, 17),
}
"""What does each part, and its share of the time in percent."""
