"""The command ``marinenav``: everything the project does, in one word each."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from torchrl_gpu import __version__
from torchrl_gpu.program import Parser, called_as, near, packages_needed

EXAMPLE = """\
example:
  marinenav quickstart
  marinenav plot runs/training_STAMP -o curves.png
  marinenav view runs/training_STAMP/seed_0 -o episode.html

marinenav COMMAND -h tells more. Exit status: 0 done, 1 failed or interrupted, 2 bad usage or bad input."""


class Command(NamedTuple):
    """A word of the command line: the module whose ``main`` does it, and what that is."""

    module: str
    does: str


COMMANDS = {
    "quickstart": Command("scripts.quickstart", "train for minutes, draw an episode, say what to try next"),
    "train": Command("torchrl_gpu.train_torchrl_gpu", "train agents, or go on with an interrupted run"),
    "reproduce": Command("scripts.reproduce", "train the legacy experiments, or go on with them"),
    "evaluate": Command("scripts.evaluate", "play evaluation episodes, or say how recorded ones ended"),
    "runs": Command("scripts.runs", "list runs: how each stands and how well it did"),
    "compare": Command("scripts.compare", "show what differs between runs, and their curves as a table"),
    "compare-policies": Command(
        "scripts.compare_policies", "compare policies, learned and classical, on the same scenarios"
    ),
    "beliefs": Command("scripts.beliefs", "compare what a policy's critic expects with what comes of it"),
    "plot": Command("scripts.plot_training_results", "draw learning curves of runs"),
    "view": Command("scripts.view_episode", "look at an episode: picture, film, or page that plays it"),
    "report": Command("scripts.report", "write a page about runs: curves, tables, best episodes, settings"),
    "export": Command("scripts.export", "write a model for the vehicles' planner"),
    "study": Command("scripts.study", "train for several seeds, and evaluate each on fresh episodes"),
    "spread": Command("scripts.spread", "say whether a key changes what is learned, or only seeds do"),
    "zoo": Command("scripts.zoo", "list the trained policies that come with the project"),
    "benchmark": Command("scripts.benchmark", "measure both pipelines side by side"),
    "gpu-check": Command("scripts.gpu_check", "prove that all works on a GPU, and measure how fast"),
}


def build_parser() -> argparse.ArgumentParser:
    """Parser of the first word."""
    words = "\n".join(f"  {word:<16} {command.does}" for word, command in COMMANDS.items())
    parser = Parser(
        prog="marinenav",
        usage="marinenav COMMAND ...",
        description=f"Reinforcement learning for fleets of autonomous surface vessels.\n\ncommands:\n{words}",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", type=word_of, metavar="COMMAND", help="one of the above")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def word_of(text: str) -> str:
    """A command's word, for argparse."""
    if text not in COMMANDS:
        hint = near(text, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise argparse.ArgumentTypeError(f"{text!r} is no command{hint}")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Call the command that the first word names with the other words; returns its exit status."""
    word, *others = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    word = build_parser().parse_args([word]).command
    # Imported when it is known which: some modules take seconds.
    before = called_as.set(f"marinenav {word}")
    try:
        with packages_needed():
            return import_module(COMMANDS[word].module).main(others)
    finally:
        called_as.reset(before)


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
