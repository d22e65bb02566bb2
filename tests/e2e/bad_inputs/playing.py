"""Playing a bad input: what the command says, and what it leaves."""

import io
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from scripts import (
    benchmark,
    compare,
    evaluate,
    export,
    marinenav,
    plot_training_results,
    report,
    runs,
    train_rl_agents,
    view_episode,
    view_scenario,
    view_vrx_trajectory,
    vrx_experiment_config,
)
from tests.e2e.bad_inputs.case import Case
from torchrl_gpu import train_torchrl_gpu

MAINS = {
    module.__name__.rpartition(".")[2]: module.main
    for module in (
        train_torchrl_gpu,
        train_rl_agents,
        evaluate,
        export,
        marinenav,
        plot_training_results,
        report,
        view_episode,
        view_scenario,
        view_vrx_trajectory,
        vrx_experiment_config,
        benchmark,
        compare,
        runs,
        marinenav,
    )
}


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit status, its message, and every file before and after."""

    status: int
    message: str
    before: dict[str, bytes | None]
    after: dict[str, bytes | None]


def play(case: Case, here: Path) -> Outcome:
    """Spoil one thing in a copy of the store, the current folder, and run the command there."""
    with mounted(here / "disk", case.disk):
        case.spoil()
        before = content(here)
        status, message = run(case.command)
        return Outcome(status, message, before, content(here))


def run(command: str) -> tuple[int, str]:
    """Run a command line in this process; its exit status, and its standard error without the usage."""
    name, *arguments = shlex.split(command)
    errors = io.StringIO()
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        try:
            status = MAINS[name](arguments)
        except SystemExit as stop:  # argparse
            status = stop.code
    lines = errors.getvalue().splitlines()
    if lines and lines[0].startswith("usage: "):
        lines = lines[-1:]
    return status, "\n".join(lines)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder, with the bytes of the files."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


@contextmanager
def mounted(folder: Path, kind: str) -> Iterator[None]:
    """A small file system in memory at ``folder``, full or read-only; nothing for an empty ``kind``.

    Raises:
        PermissionError: This user may not mount one.
    """
    if not kind:
        yield
        return
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("cannot mount a file system")
    try:
        if kind == "full":
            (folder / "others").write_bytes(bytes(64 * 1024))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
