"""What it costs to go beyond one process: a sweep on Ray, ranks of torchrun, messages between ranks."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist

from agents.learners import LEARNERS
from agents.learners.base import Learner
from torchrl_gpu.learn.gradients import averaged
from torchrl_gpu.program import new_parser
from torchrl_gpu.ranks import Ranks

MODULE = ["-m", "torchrl_gpu.train_torchrl_gpu"]
PARTS = ("act", "step", "store", "sample", "update")
EXAMPLES = """\
  python scripts/scaling.py bytes
  python scripts/scaling.py sweep
  python scripts/scaling.py ranks num_envs=256
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


def timed(command: Sequence[str], args: argparse.Namespace, *keys: str) -> tuple[float, list[Path]]:
    """Seconds that a training takes, start to end, and the folders of its trials."""
    folder = tempfile.mkdtemp()
    end = args.timesteps
    given = [f"total_timesteps={end}", f"eval_freq={end}", f"save_dir={folder}", *args.overrides, *keys]
    begun = time.perf_counter()
    subprocess.run([*command, "-C", args.config_file, "--quiet", *given], check=True)
    return time.perf_counter() - begun, sorted(path.parent for path in Path(folder).rglob("finished.json"))


def seconds_of(folder: Path, part: str) -> float:
    """Seconds that a trial spent on a part of its loop, as it has logged them."""
    lines = (folder / "csv" / "scalars" / "speed" / f"{part}_seconds.csv").read_text().splitlines()
    return sum(float(line.split(",")[1]) for line in lines)


def sweep(args: argparse.Namespace) -> None:
    """A sweep over four seeds, two at a time, in processes and on Ray, in turns; then of no length."""
    ways = {"-P 2": ["-P", "2"], "--ray -P 2": ["-P", "2", "--ray"]}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.turns):
        for way, flags in ways.items():
            taken[way].append(timed([sys.executable, *MODULE, *flags], args, "seed=0..3")[0])
    for way, seconds in taken.items():
        print(f"{way:12} {' '.join(f'{each:.1f}' for each in seconds)} s, median {median(seconds):.1f}")
    print(f"ratio of the medians {median(taken['--ray -P 2']) / median(taken['-P 2']):.3f}")


def ranks(args: argparse.Namespace) -> None:
    """One process against two ranks, in turns: seconds of the loop's parts, of the first rank."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
    print("ranks  whole  " + "  ".join(PARTS))
    for _ in range(args.turns):
        for count in ("1", "2"):
            whole, folders = timed([*torchrun, count, *MODULE], args, "backend=torch")
            first = min(folders, key=lambda path: len(path.parts))
            parts = "  ".join(f"{seconds_of(first, part):.2f}" for part in PARTS)
            print(f"{count}  {whole:.1f}  {parts}", flush=True)


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


WHAT = {"sweep": sweep, "ranks": ranks, "bytes": table_of_bytes, "messages": messages}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one thing and print it."""
    torch.set_num_threads(1)
    args = parse(argv)
    WHAT[args.what](args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
