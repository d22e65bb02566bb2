"""A wheel, installed where the checkout is not in sight, runs the command lines from any folder."""

import json
import os
import shutil
import site
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"agents", "config", "marinenav_env", "scripts", "torchrl_gpu"}
SHORT = {"total_timesteps": 64, "eval_freq": 64, "learning_starts": 32, "update_every": 8, "num_envs": 8}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    for name in listed:
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(folder / "source")], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a new environment: the wheel and the dependencies of this one, but not the checkout."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # These folders alone: the .pth file of an editable install in them is not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return python.parent


@pytest.fixture
def run(programs: Path, tmp_path: Path):
    """Function that runs an installed program in an empty folder; what it prints."""

    def call(program: str, *arguments: object) -> str:
        command = [str(programs / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call


def environment() -> dict[str, str]:
    """That of a user who has no checkout."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_their_files_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == PACKAGES
    for name in (
        "config/quickstart.json",
        "scripts/drawing/player.html",
        "scripts/drawing/report.html",
        "torchrl_gpu/README.md",
    ):
        assert name in names


@pytest.mark.slow
def test_installed_commands_run_in_another_folder(run, programs: Path, tmp_path: Path) -> None:
    installed = Path(run("python", "-c", "import agents; print(agents.__file__)"))
    assert programs.parent in installed.parents
    config = json.loads((installed.parents[1] / "config" / "quickstart.json").read_text()) | SHORT
    config["eval_schedule"] |= {"num_episodes": [1]}
    (tmp_path / "short.json").write_text(json.dumps(config))

    assert "Run finished" in run("marinenav-train", "-C", "short.json")
    (trial,) = tmp_path.glob("runs/training_*/seed_*")
    assert "total" in run("python", "-m", "scripts.evaluate", "-M", trial, "-C", "short.json")
    run("python", "-m", "scripts.view_scenario", trial / "eval_configs.json", "-o", "scenario.png")
    run("marinenav", "view", trial, "--every", 500, "-o", "episode.html")
    run("marinenav", "report", trial, "-o", "report.html")
    assert "<iframe" in (tmp_path / "report.html").read_text()
    assert "<button" in (tmp_path / "episode.html").read_text()


@pytest.mark.slow
def test_a_shipped_config_trains_by_its_path_until_it_is_stopped(run, programs: Path, tmp_path: Path) -> None:
    shipped = run("python", "-c", "from importlib import resources as r; print(r.files('config'))")
    command = [programs / "marinenav-train", "-C", f"{shipped}/quickstart.json", "-D", "cpu"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe) as training:
        while not list(tmp_path.glob("runs/training_*/seed_0/csv")):
            assert training.poll() is None
            time.sleep(0.2)
        training.terminate()
        _, error = training.communicate(timeout=60)
    assert training.returncode == 1
    assert b"to go on from timestep" in error
    assert len(list(tmp_path.glob("runs/training_*/seed_0/checkpoints/*"))) == 1
