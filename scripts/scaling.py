"""What it costs, and gains, to go beyond one process: sweeps on Ray, collectors, ranks, what travels."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import torch
import torch.distributed as dist

from agents.learners import LEARNERS
from agents.learners.base import Learner
from scripts.command_line import markdown_table
from torchrl_gpu.collect.collector import Collector, Order, piece_of, read_weights
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.experiment import build_trainer, steps_of_collector
from torchrl_gpu.learn.gradients import averaged
from torchrl_gpu.program import new_parser
from torchrl_gpu.ranks import Ranks
from torchrl_gpu.runs.cluster import cluster_of_collectors
from torchrl_gpu.settings.parse import read_config
from torchrl_gpu.watch.progress import Verbosity

MODULE = ["-m", "torchrl_gpu.train_torchrl_gpu"]
FEW = {"num_robots": [1], "num_cores": [0], "num_obstacles": [0], "min_start_goal_dis": [10.0]}
EPISODES = json.dumps({"num_episodes": [2], **FEW})
UNPLAYED = EpisodeResult(0.0, False, 0.0, 0.0, [], [], [])
"""In place of an evaluation, where only the speed between them matters."""
BEFORE = 10
"""Times as many timesteps are collected before learning starts, where collectors are compared."""
PARTS = ("act", "step", "store", "sample", "update")
EXAMPLES = """\
  python scripts/scaling.py bytes
  python scripts/scaling.py pieces num_envs=256
  python scripts/scaling.py sweep num_envs=64 backend=torch --turns 2
  python scripts/scaling.py collectors num_envs=256 --timesteps 2000
  python scripts/scaling.py ranks num_envs=256
  torchrun --nproc-per-node 2 scripts/scaling.py ranks num_envs=256
  torchrun --nproc-per-node 2 scripts/scaling.py messages"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser("scaling", __doc__, EXAMPLES, "python scripts/scaling.py")
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("-C", "--config-file", default="config/ac_iqn.json")
    parser.add_argument("--turns", type=int, default=3, help="runs of each way (default: %(default)s)")
    parser.add_argument("--timesteps", type=int, default=4000, help="of a trial (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser.parse_intermixed_args(argv)


def keys_of(args: argparse.Namespace, *keys: str, before: int = 0) -> list[str]:
    """Keys of a short trial, longer by what comes ``before``."""
    end = before + args.timesteps
    short = [f"total_timesteps={end}", f"eval_freq={end}", f"eval_schedule={EPISODES}"]
    return [*short, *args.overrides, *keys]


def timed(command: Sequence[str], args: argparse.Namespace, *keys: str) -> tuple[float, float]:
    """Seconds that a training takes, start to end, and those of processors, of all processes below it."""
    begun, used = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        given = keys_of(args, f"save_dir={folder}", *keys)
        process = psutil.Popen([*command, "-C", args.config_file, "--quiet", *given])
        while process.poll() is None:
            with suppress(psutil.Error):
                for each in (process, *process.children(recursive=True)):
                    used[each.pid] = sum(each.cpu_times()[:2])
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{command} ended with status {process.returncode}")
    return time.perf_counter() - begun, sum(used.values())


def sweep(args: argparse.Namespace) -> None:
    """A sweep over four seeds, two at a time, in processes and on Ray, in turns."""
    ways = {"-P 2": ["-P", "2"], "--ray -P 2": ["-P", "2", "--ray"]}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(args.turns):
        for way, flags in ways.items():
            taken[way].append(timed([sys.executable, *MODULE, *flags], args, "seed=0..3"))
    rows = []
    for k, what in enumerate(("seconds", "processor seconds")):
        each = [[pair[k] for pair in pairs] for pairs in taken.values()]
        rows += [
            [f"{what}, run {run + 1}", *map("{:.1f}".format, pair), ""]
            for run, pair in enumerate(zip(*each, strict=True))
        ]
        first, second = map(median, each)
        more = f"{second - first:+.1f} s, {100 * (second / first - 1):+.1f} %"
        rows += [[f"{what}, median", f"{first:.1f}", f"{second:.1f}", more]]
    print(markdown_table(["of four trials", *ways, "overhead"], rows, left=1), flush=True)


def collectors(args: argparse.Namespace) -> None:
    """Timesteps a second without collectors, of one and of two: collecting alone, and with all updates."""
    counts = (0, 1, 2)
    found: dict[int, list[tuple[float, ...]]] = {count: [] for count in counts}
    for _ in range(args.turns):
        for count in counts:
            found[count].append(speeds_of(args, count))
    medians = {count: [median(each) for each in zip(*found[count], strict=True)] for count in counts}
    rows = [
        [f"{count}", f"{alone:.0f}", f"{learning:.0f}", f"{start:.1f}", f"{end:.1f}"]
        for count, (alone, learning, start, end) in medians.items()
    ]
    gain = [two / one for one, two in zip(medians[1][:2], medians[2], strict=False)]
    rows += [["two against one", *map("{:.2f}".format, gain), "", ""]]
    head = ["collectors", "timesteps/s before updates", "with updates", "s to start a cluster", "to end it"]
    print(markdown_table(head, rows, left=1), flush=True)


def speeds_of(args: argparse.Namespace, count: int) -> tuple[float, ...]:
    """Timesteps a second before and after learning starts; seconds to start a cluster, and to end it."""
    before = BEFORE * args.timesteps
    keys = ("backend=torch", "seed=0", f"learning_starts={before}", f"collectors={count}")
    (trial,) = read_config(args.config_file, keys_of(args, *keys, before=before)).trials
    passed: list[tuple[int, float]] = []
    moments = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder, cluster_of_collectors(trial):
        moments.append(time.perf_counter())
        trainer = build_trainer(trial, "cpu", Path(folder), Verbosity.QUIET)
        trainer.evaluate = lambda: [UNPLAYED]
        trainer.learn(folder, lambda: passed.append((trainer.timestep, time.perf_counter())))
        trainer.progress.log.close(True)
        moments.append(time.perf_counter())
    moments.append(time.perf_counter())
    end = trial.schedule.total_timesteps
    speeds = [
        speed_between(passed, *span) for span in ((before // 4, before), (before + args.timesteps // 4, end))
    ]
    return (*speeds, moments[1] - moments[0], moments[3] - moments[2])


def speed_between(passed: Sequence[tuple[int, float]], first: int, last: int) -> float:
    """Timesteps a second, from what had been passed when."""
    (low, begun), *_, (high, ended) = [each for each in passed if first <= each[0] <= last]
    return (high - low) / (ended - begun)


def ranks(args: argparse.Namespace) -> None:
    """A trial on this rank: processor seconds of the loop's parts, without those of waiting for others."""
    here = Ranks.here()
    here.join("cpu")
    (trial,) = read_config(args.config_file, keys_of(args, "backend=torch", "seed=0")).trials
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(trial, "cpu", Path(folder), Verbosity.QUIET, here)
        trainer.timings.clock = time.process_time
        trainer.learn(folder)
        trainer.progress.log.close(True)
    parts = trainer.timings.read()
    shown = "  ".join(f"{part} {parts[part]:.2f}" for part in PARTS)
    print(f"rank {here.number} of {here.count}: {trainer.updates} updates; {shown} s", flush=True)
    here.leave()


def gradients_of(learner: Learner) -> list[list[torch.Tensor]]:
    """One message after the other: tensors like the gradients of each network."""
    return [[torch.ones_like(each) for each in learner.parameters(name)] for name in learner.optimizers]


def bytes_of(messages: list[list[torch.Tensor]]) -> int:
    """Bytes of all their numbers."""
    return sum(each.numel() * each.element_size() for message in messages for each in message)


def table_of_bytes(args: argparse.Namespace) -> None:
    """What a rank gives in an update of all networks of each learner."""
    print("learner  messages  bytes an update")
    for name, kind in LEARNERS.items():
        messages = gradients_of(kind(kind.Settings()))
        print(f"{name}  {len(messages)}  {bytes_of(messages)}")


def pieces(args: argparse.Namespace) -> None:
    """What goes out to a collector and comes back, in bytes."""
    print("learner  bytes of weights")
    for name, kind in LEARNERS.items():
        print(f"{name}  {read_weights(kind(kind.Settings(), training=False).acting_network).nbytes}")
    (trial,) = read_config(args.config_file, keys_of(args, "collectors=1", "backend=torch", "seed=0")).trials
    collector = Collector(partial(steps_of_collector, trial, 0, 0), 0)
    piece = piece_of(collector.collect(Order(0, (1.0,) * 4, 0)))
    each = piece.bytes / (4 * trial.world.num_envs)
    print(f"a timestep of {max(trial.world.training_schedule.num_robots)} robots: {each:.0f} bytes")


def messages(args: argparse.Namespace) -> None:
    """Milliseconds that ranks take to average the gradients of an update."""
    here = Ranks.here()
    here.join("cpu")
    for name, kind in LEARNERS.items():
        gradients = gradients_of(kind(kind.Settings()))
        taken = []
        for _ in range(100):
            dist.barrier()
            begun = time.perf_counter()
            for each in gradients:
                averaged(tuple(each))
            taken.append(time.perf_counter() - begun)
        if here.first:
            low, middle = min(taken) * 1e3, median(taken) * 1e3
            print(f"{name}  {bytes_of(gradients)} bytes: {middle:.2f} ms, at best {low:.2f}", flush=True)
    here.leave()


WHAT = {
    "sweep": sweep,
    "collectors": collectors,
    "ranks": ranks,
    "bytes": table_of_bytes,
    "pieces": pieces,
    "messages": messages,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one thing and print it."""
    torch.set_num_threads(1)
    args = parse(argv)
    WHAT[args.what](args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
