"""How commands are called, what bad usage is answered, and what to do without a package."""

import subprocess
import sys
from pathlib import Path

import pytest

from torchrl_gpu.program import called_as, near, new_parser, packages_needed, typed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The program `marinenav`, in a folder that the shell does not search."""
    program = tmp_path / "bin" / "marinenav"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    return program


def test_a_command_is_shown_with_its_path_where_the_shell_would_not_find_it(installed, monkeypatch):
    assert typed("view") == f"{installed} view"
    monkeypatch.setenv("PATH", str(installed.parent))
    assert typed("view") == "marinenav view"
    monkeypatch.setattr(sys, "argv", ["notebook.py"])
    assert typed("train") == "marinenav train"


def test_help_names_a_command_as_it_was_called(capsys):
    arguments = "view", "", "  python scripts/view.py RUN", "python scripts/view.py"
    assert new_parser(*arguments).format_help().endswith("\n  python scripts/view.py RUN\n")
    before = called_as.set("marinenav view")
    shown = new_parser(*arguments).format_help()
    called_as.reset(before)
    assert shown.startswith("usage: marinenav view ")
    assert shown.endswith("\n  marinenav view RUN\n")


def test_bad_usage_is_one_line(capsys):
    parser = new_parser("view", "", "", "")
    parser.add_argument("--faster", action="store_true")
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--fastre=3"])
    assert end.value.code == 2
    said = "unrecognized arguments: --fastre=3; did you mean '--faster'? (see view -h)\n"
    assert capsys.readouterr() == ("", f"view: error: {said}")


def test_the_nearest_is_told_if_there_is_one():
    assert near("trian", ["evaluate", "train"]) == "; did you mean 'train'?"
    assert near("xyz", ["evaluate", "train"]) == ""


def test_a_missing_package_is_told_and_what_to_do(capsys):
    with pytest.raises(SystemExit) as end, packages_needed():
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {sys.executable} has no package 'torch'; use the Python into which")
    assert said.count("\n") == 1


def test_a_module_of_this_project_that_is_not_there_is_a_fault_of_its_own():
    with pytest.raises(ModuleNotFoundError), packages_needed():
        raise ModuleNotFoundError("No module named 'scripts.none'", name="scripts.none")


@pytest.mark.parametrize(
    "command", ["scripts.marinenav runs", "torchrl_gpu.train_torchrl_gpu -C config/dqn.json"]
)
def test_a_python_without_packages_says_which_one_to_use(command):
    # -S and -I leave out what is installed; the modules of this folder are put back.
    start = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = {command.split()!r}; "
    run = "runpy.run_module(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", start + run], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "has no package 'pydantic'; use the Python into which marinenav is installed" in done.stderr
