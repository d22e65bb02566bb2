import subprocess
import sys
from pathlib import Path

import pytest

import torchrl_gpu

ROOT = Path(__file__).parents[2]


def test_every_folder_of_code_is_a_package_so_that_the_wheel_holds_it():
    for room in ("agents", "marinenav_env", "scripts", "torchrl_gpu"):
        folders = {path.parent for path in (ROOT / room).rglob("*.py")}
        assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_version_is_a_release_number():
    assert all(part.isdigit() for part in torchrl_gpu.__version__.split("."))


def test_public_classes_come_without_torch_until_they_are_asked_for():
    program = (
        "import sys, torchrl_gpu; assert 'torch' not in sys.modules;"
        "from torchrl_gpu import PolicyWrapper, TorchRLTrainer;"
        "assert torchrl_gpu.PolicyWrapper is PolicyWrapper; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="'torchrl_gpu' has no attribute 'nothing'"):
        torchrl_gpu.nothing  # noqa: B018


def test_the_world_comes_without_gymnasium():
    program = "import sys; sys.modules['gymnasium'] = None; from marinenav_env.envs import MarineNavEnv3"
    subprocess.run([sys.executable, "-c", program], check=True)
