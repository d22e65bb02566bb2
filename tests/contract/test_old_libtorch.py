"""Traced files load in the LibTorch of the vessels' planner, 2.2.1, and give the same numbers there.

An environment of its own is needed: ``python3.11 -m venv OLD && OLD/bin/pip install torch==2.2.1 "numpy<2"``;
the variable MARINENAV_OLD_PYTHON names its Python.
"""

import json
import os
import subprocess

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.exported import TOLERANCE, export_model, export_name, planner_of

OLD_PYTHON = os.environ.get("MARINENAV_OLD_PYTHON")
PROGRAM = """
import json, sys, torch
state, taus, *files = json.load(sys.stdin)
state = tuple(torch.tensor(part, dtype=torch.float64) for part in state)
assert torch.__version__.startswith("2.2.1"), torch.__version__
results = []
for path, with_taus, dtype in files:
    inputs = [tuple(part.to(getattr(torch, dtype)) for part in state)]
    inputs += [torch.tensor(taus, dtype=getattr(torch, dtype))] * with_taus
    with torch.no_grad():
        out = torch.jit.load(path)(*inputs)
    results.append([part.tolist() for part in (out if isinstance(out, tuple) else (out,))])
json.dump(results, sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.skipif(OLD_PYTHON is None, reason="needs MARINENAV_OLD_PYTHON")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_it_gives_the_same_numbers(dtype, tmp_path):
    files, expected = [], []
    state = [[20.0, 3.0, 1.0, 0.1, -0.2, 200.0, 300.0]], np.zeros((1, 5, 5)), [[1.0, 1.0, 0.0, 0.0, 0.0]]
    state[1][0, :2] = [[8, -1, 0, 0, 1], [3, 2, 0.5, -0.1, 0.8]]
    state = [np.array(part).tolist() for part in state]
    taus = [[k / 64 for k in range(1, 64, 2)]]
    for agent_type in LEARNERS:
        learner = Agent(agent_type=agent_type, seed=3, training=False).learner
        learner.to_dtype(dtype)
        path = tmp_path / export_name(agent_type, dtype=dtype)
        export_model(learner, path)
        with planner_of(learner) as planner:
            inputs = [tuple(torch.tensor(part, dtype=dtype) for part in state)]
            inputs += [torch.tensor(taus, dtype=dtype)] * (len(planner.inputs) - 1)
            expected.append([part.numpy() for part in tree_leaves(planner.module(*inputs))])
        files.append([str(path), len(inputs) - 1, str(dtype).removeprefix("torch.")])
    given = json.dumps([state, taus, *files])
    command = [OLD_PYTHON, "-c", PROGRAM]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, env={})
    for results, numbers in zip(json.loads(done.stdout), expected, strict=True):
        for result, number in zip(results, numbers, strict=True):
            np.testing.assert_allclose(result, number, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
            assert np.abs(number).max() > 0
