"""Look at a recorded episode: a still picture, an animation, or a page that plays it."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import models
from scripts.command_line import InputError, new_parser, output_path, pick, refused, run
from scripts.episodes_played import LEGACY_PER_STAGE, task_of_config

if TYPE_CHECKING:
    from scripts.drawing.recording import Recording

NAME = "view_episode.py"
WIDTHS = {".png": 1440, ".gif": 1080, ".mp4": 1440, ".html": 1200}
"""Default width in pixels by kind of output."""
EXAMPLES = """  python scripts/view_episode.py runs/training_STAMP/seed_0 -o last_episode.html
  python scripts/view_episode.py runs/training_STAMP/seed_0 -E 0 -e 9 -r 0 2 -o episode.gif
  python scripts/view_episode.py runs/training_STAMP/seed_0 -m runs/training_STAMP/seed_0 -s 5 -o step_5.png
  python scripts/view_episode.py --zoo sac -o sac.html

RECORDING is a trial folder (eval_configs.json and evaluations.npz) or a JSON file of episode
dictionaries with histories. Indices count from 0, negative ones from the end."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line and check what can be checked without the recording."""
    parser = new_parser(NAME, __doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "recording",
        metavar="RECORDING",
        type=Path,
        nargs="?",
        help="trial folder, or JSON file with histories",
    )
    add("--zoo", metavar="NAME", help="play a legacy episode with a policy of the zoo, and show it")
    add("-E", "--evaluation", type=int, default=-1, help="which evaluation of the folder (default: the last)")
    add("-e", "--episode", type=int, default=-1, help="which episode (default: the last)")
    add(
        "-r",
        "--robots",
        type=int,
        nargs="+",
        default=[],
        help="robots whose perception is shown, one after another",
    )
    add("-m", "--model", type=Path, help="model folder of a quantile agent: adds its return distribution")
    add("-s", "--step", type=int, default=-1, help="step of a still picture (default: the last)")
    add("--no-arrows", action="store_true", help="show the current by colour only")
    add(
        "--fps",
        type=float,
        default=10.0,
        help="steps shown per second (default: %(default)g; a step is 0.5 s)",
    )
    add("--every", type=int, help="show every n-th step (default: at most 200 frames)")
    add("--width", type=int, help="width in pixels (default: 1440; .gif 1080, .html 1200)")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("episode.png"),
        help=f"{', '.join(WIDTHS)}; default: %(default)s",
    )
    options = parser.parse_args(argv)
    if (options.recording is None) == (options.zoo is None):
        raise InputError("RECORDING or --zoo NAME is needed, one of them")
    for name, low, high in (("fps", 0.5, 100), ("every", 1, 1000), ("width", 400, 4000)):
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name} {value:g}: must be {low:g} to {high:g}")
    return options


def animation_steps(last: int, every: int | None) -> list[int]:
    """Steps to show: every n-th and, whatever n, the last (Defect T19 left it out)."""
    every = every or math.ceil((last + 1) / 200)
    return [*range(0, last, every), last]


def played_by(name: str, episode: int) -> "Recording":
    """One of the legacy episodes, which a policy of the zoo plays now."""
    from agents.models.folder import load_agent
    from scripts.drawing.recording import new_recording
    from torchrl_gpu.evaluation.one_by_one import evaluate_episode
    from torchrl_gpu.seeding import seed_everything

    with refused(ValueError):
        model = models.folder(name)
    task = task_of_config(model / "config.json", LEGACY_PER_STAGE, None)
    number = pick(episode, len(task.episodes), "--episode")
    agent = load_agent(model, "cpu")
    agent.GAMMA = task.discount
    seed_everything(0)  # SAC and IQN act at random
    result = evaluate_episode(task.world, agent, task.episodes[number])
    histories = result.trajectories, result.observations, result.actions
    return new_recording(f"{name}: episode {number}", task.episodes[number], *histories, where=name)


def work(argv: Sequence[str] | None) -> None:
    """Read, draw, write."""
    options = arguments(argv)
    output = output_path(options.output, tuple(WIDTHS))
    from scripts.drawing.output import check_writer, save_frames
    from scripts.drawing.recording import read_recording

    check_writer(output)
    if options.zoo is None:
        recording = read_recording(options.recording, options.evaluation, options.episode)
    else:
        recording = played_by(options.zoo, options.episode)
    robots = [pick(k, len(recording.trajectories), "--robots") for k in options.robots]
    still = output.suffix.lower() == ".png"
    last = recording.last_step
    steps = [pick(options.step, last + 1, "--step")] if still else animation_steps(last, options.every)

    from scripts.drawing.episode import EpisodeView, shown_order

    returns = {}
    if options.model:
        from scripts.drawing.quantiles import load_quantile_agent, return_distribution

        agent = load_quantile_agent(options.model)
        returns = {k: return_distribution(agent, recording, k) for k in shown_order(recording, robots)}
    width = options.width or WIDTHS[output.suffix.lower()]
    view = EpisodeView(recording, robots, returns, not options.no_arrows, width)
    save_frames(view.frames(steps), output, options.fps, recording.title)
    shown = f"step {steps[0]}" if still else f"{len(steps)} frames"
    print(f"{output}: {recording.title}: {recording.summary()}; {shown}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(NAME, work, argv)


if __name__ == "__main__":
    sys.exit(main())
