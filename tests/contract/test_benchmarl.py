"""BenchMARL trains on the fleet, with the versions of TorchRL that it takes; see docs/ecosystem.md.

An environment of its own is needed, ``python3 -m venv MARL && MARL/bin/pip install benchmarl scipy``; the
variable MARINENAV_MARL_PYTHON names its Python.
"""

import csv
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARL_PYTHON = os.environ.get("MARINENAV_MARL_PYTHON")
ITERATIONS = 3


@pytest.mark.slow
@pytest.mark.skipif(MARL_PYTHON is None, reason="needs MARINENAV_MARL_PYTHON")
@pytest.mark.parametrize("algorithm", ["mappo", "ippo", "qmix", "masac"])
def test_it_trains(algorithm, tmp_path):
    program = [MARL_PYTHON, str(ROOT / "examples" / "benchmarl" / "run.py"), algorithm]
    arguments = ["--iterations", str(ITERATIONS), "-o", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program + arguments, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    written = {path.stem: path for path in tmp_path.rglob("*.csv")}
    for name in ("collection_info_arrived", "eval_reward_episode_reward_mean"):
        steps = list(csv.reader(written[name].open()))
        assert steps
        assert all(abs(float(value)) < 1000 for _, value in steps)
    losses = [path for name, path in written.items() if name.startswith("train_agents_loss")]
    assert losses
    assert all(len(path.read_text().splitlines()) == ITERATIONS for path in losses)
