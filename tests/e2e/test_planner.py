"""The C++ planner of the examples decides as the policy that it was exported from."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from agents.models.folder import load_agent
from scripts import export

ROOT = Path(__file__).parents[2]
TORCH = Path(torch.__path__[0])
# In the frames of ROS: own state, then objects.
OBSERVATIONS = [
    [[20, -3, 1, 0.2, 0.1, 200, 300]],
    [[20, -3, 1, 0.2, 0.1, 900, -400], [8, 1, 0, 0, 1], [3, -2, 0.5, -0.1, 0.8]],
    [[-5, 12, 0, 0, -0.3, 0, 0], *([k + 2.0, (-1) ** k * k, 0.1 * k, -0.2, 0.5 + k % 3] for k in range(7))],
]


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    """The compiled program."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    program = tmp_path_factory.mktemp("planner") / "planner"
    include = TORCH / "include"
    search = ["-I", include, "-I", include / "torch" / "csrc" / "api" / "include", "-L", TORCH / "lib"]
    libraries = ["-ltorch", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{TORCH / 'lib'}"]
    source = ROOT / "examples" / "planner.cpp"
    subprocess.run(["g++", "-std=c++20", "-O1", source, *search, *libraries, "-o", program], check=True)
    return program


def decided(own, objects):
    """Rates (N/s) and thrusts (N) of the policy of the zoo, in Python."""
    own, objects = np.array(own, float), np.array(objects, float).reshape(-1, 5)
    own[[1, 3, 4]] *= -1
    objects[:, [1, 3]] *= -1
    nearest = np.argsort(np.hypot(objects[:, 0], objects[:, 1]) - objects[:, 4], kind="stable")[:5]
    padded, mask = np.zeros((5, 5)), np.zeros(5)
    padded[: len(nearest)], mask[: len(nearest)] = objects[nearest], 1
    actor = load_agent(models.folder("sac"), dtype=torch.float64).learner.acting_network
    with torch.no_grad():
        mean, _ = actor.distribution(tuple(torch.from_numpy(part[None]) for part in (own, padded, mask)))
    rate = 1000 * 2 / np.pi * np.arctan(mean[0].numpy())
    return np.stack([rate, np.clip(own[5:] + 0.5 * rate, -500, 1000)], 1)


@pytest.mark.slow
def test_the_planner_decides_as_the_policy(planner, tmp_path):
    assert export.main(["--zoo", "sac", "-o", str(tmp_path)]) == 0
    for own, *objects in OBSERVATIONS:
        text = "\n".join(" ".join(map(str, row)) for row in (own, *objects))
        command = [planner, tmp_path / "traced_SAC_model.pt"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        printed = np.array([line.split() for line in done.stdout.splitlines()], float)
        np.testing.assert_allclose(printed, decided(own, objects), rtol=0, atol=1e-9)
        assert abs(printed[:, 0]).max() > 1
