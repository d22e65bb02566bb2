"""Whatever is wrong with an input: one line that names it, an exit status, nothing half written."""

import io
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.e2e.bad_inputs.document import CASES, DOCUMENT, VERSIONS, row, row_start
from tests.e2e.bad_inputs.playing import play
from tests.e2e.bad_inputs.store import build_store

ALL = [case for cases in CASES.values() for case in cases]
LEFT_BY_A_FAILED_TRIAL = {"failure.txt", ".lock", "surroundings.json"}


@pytest.fixture(scope="module")
def store(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good input of every kind."""
    folder = tmp_path_factory.mktemp("store")
    with redirect_stdout(io.StringIO()):
        build_store(folder, golden)
    return folder


@pytest.fixture
def here(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, the current folder."""
    folder = tmp_path / "here"
    shutil.copytree(store, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def documented() -> list[str]:
    """Rows of the document's tables."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith("| what is wrong")]


def name_of(case) -> str:
    return f"{case.command.split()[0]} {case.what}"


@pytest.mark.parametrize("case", ALL, ids=map(name_of, ALL))
def test_a_bad_input_is_named_and_leaves_nothing(case, here, documented) -> None:
    try:
        outcome = play(case, here)
    except PermissionError as error:
        pytest.skip(str(error))
    assert case.says in outcome.message
    assert outcome.status == case.status
    assert "Traceback" not in outcome.message
    new = outcome.after.keys() - outcome.before.keys()
    if case in CASES["Checkpoints"]:
        assert {Path(path).name for path in new} <= LEFT_BY_A_FAILED_TRIAL
    else:
        assert outcome.message.count("\n") == 0
        assert len(outcome.message) < 1000
        assert new == set()
    assert {path: outcome.after.get(path) for path in outcome.before} == outcome.before
    same_words = VERSIONS in DOCUMENT.read_text(encoding="utf-8")
    found = [line for line in documented if line.startswith(row_start(case))]
    assert found if not same_words else row(case, outcome) in found, "run python -m tests.e2e.bad_inputs"


PROGRAMS = {
    "module": (["-m", "torchrl_gpu.train_torchrl_gpu", "-C", "nowhere.json"], "nowhere.json: No such file"),
    "script": (["{root}/scripts/train_rl_agents.py", "-C", "config.json", "-P", "0"], "'0' is not a whole"),
    "viewer": (["{root}/scripts/view_scenario.py", "config.json"], "episode: env is missing"),
}


@pytest.mark.parametrize(("arguments", "says"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_process_of_its_own_ends_the_same_way(arguments, says, here) -> None:
    command = [sys.executable, *(argument.format(root=DOCUMENT.parents[1]) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_document_has_no_other_rows(documented) -> None:
    assert len(documented) == len(ALL) == len(set(documented))
    for heading in CASES:
        assert f"\n## {heading}\n" in DOCUMENT.read_text(encoding="utf-8")
