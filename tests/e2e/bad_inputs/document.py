"""All bad inputs by heading, and the document that shows what each is answered."""

import io
import os
import platform
import re
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from tests.conftest import GOLDEN
from tests.e2e.bad_inputs.case import Case
from tests.e2e.bad_inputs.configs import CONFIGS, LEGACY
from tests.e2e.bad_inputs.first_hour import FIRST_HOUR
from tests.e2e.bad_inputs.models import MODELS
from tests.e2e.bad_inputs.options import OPTIONS
from tests.e2e.bad_inputs.playing import Outcome, play
from tests.e2e.bad_inputs.results import RESULTS, SCENARIOS
from tests.e2e.bad_inputs.runs import CHECKPOINTS, DISK, RUNS
from tests.e2e.bad_inputs.store import build_store

DOCUMENT = Path(__file__).parents[3] / "docs" / "bad_inputs.md"

CASES = {
    "The first hour": FIRST_HOUR,
    "Configs": CONFIGS,
    "Options": OPTIONS,
    "The legacy pipeline": LEGACY,
    "Models": MODELS,
    "Evaluation results and recordings": RESULTS,
    "Scenarios and VRX records": SCENARIOS,
    "Runs to go on with": RUNS,
    "Checkpoints": CHECKPOINTS,
    "Disks": DISK,
}
"""All cases by heading of the document."""

HEAD = """\
# Bad inputs

What the commands say when something is wrong with what they are given. Every row is a test
(`tests/e2e/test_bad_inputs.py`): the exit status is the one given (2: the command line or an input cannot be
used, found before anything is written; 1: the work failed), nothing is printed but what stands here, no
traceback, and no file is left half written. `python -m tests.e2e.bad_inputs` generates this file; what
depends on the machine is replaced by `…`. Some texts are those of Python and torch, here of
"""

VERSIONS = " and ".join(
    f"{name} {version.rpartition('.')[0]}"
    for name, version in (("Python", platform.python_version()), ("torch", torch.__version__))
)
"""Other versions of Python and torch word some of their errors in other ways."""

MACHINE = (
    (r"need [\d,.]+ GB of memory on cpu, [\d,.]+ GB are free", "need … GB of memory on cpu, … GB are free"),
    (r"this machine has \d+ CUDA device\(s\)[^;]*", "this machine has … CUDA device(s)"),
    (r"[^ ]*/config/quickstart.json", "…/config/quickstart.json"),
    (r"/\S+/here/", ""),
    (r"known keys are seed, .*", "known keys are seed, …"),
    (r"there are quickstart, .* \(see", "there are quickstart, … (see"),
    (r"training_[\d-]{19}", "training_…"),
)


def portable(message: str) -> str:
    """A message without what depends on machine, process and time."""
    for pattern, replacement in MACHINE:
        message = re.sub(pattern, replacement, message)
    return message


def row(case: Case, outcome: Outcome) -> str:
    """The case as a row of a Markdown table."""
    message = portable(outcome.message).replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")
    return f"{row_start(case)} {outcome.status} | {message} |"


def row_start(case: Case) -> str:
    """The first cells of a row, which tell it from all others."""
    return f"| {case.what} | `{case.command}` |"


def document(rows: dict[str, list[str]]) -> str:
    """The whole document; rows by heading."""
    tables = [
        "\n".join(
            [f"## {heading}\n", "| what is wrong | command | status | message |", "|---|---|---|---|", *each]
        )
        for heading, each in rows.items()
    ]
    return "\n".join([f"{HEAD}{VERSIONS}.\n", "\n\n".join(tables), ""])


def write_document() -> None:
    """Play every case and write the document."""
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        store, here = Path(folder, "store"), Path(folder, "here")
        store.mkdir()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            build_store(store, GOLDEN)
        rows: dict[str, list[str]] = {}
        for heading, cases in CASES.items():
            for case in cases:
                shutil.copytree(store, here)
                os.chdir(here)
                rows.setdefault(heading, []).append(row(case, play(case, here)))
                os.chdir(start)
                shutil.rmtree(here)
    DOCUMENT.write_text(document(rows), encoding="utf-8")
