"""Exported files compute what the network does, in each format and precision, or are not written."""

import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import models
from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.exported import (
    CASES,
    FORMATS,
    TOLERANCE,
    ExportError,
    check_model,
    difference,
    export_model,
    export_name,
    planner_of,
)
from agents.models.folder import load_agent
from scripts import export

WITH_ATAN = ("AC-IQN", "DDPG", "TD3")
ONNX = all(find_spec(name) for name in FORMATS["onnx"].packages)


def learner_of(agent_type, dtype):
    learner = Agent(agent_type=agent_type, seed=3, training=False).learner
    learner.to_dtype(dtype)
    return learner


def written(agent_type, kind, dtype, folder):
    """A file of this format, which export and check have found to give the network's numbers."""
    learner, path = learner_of(agent_type, dtype), folder / export_name(agent_type, kind, dtype)
    worst = export_model(learner, path, kind)
    assert check_model(learner, path, kind) == worst <= TOLERANCE[dtype]
    return path


def test_the_command_offers_every_format():
    assert tuple(FORMATS) == export.FORMATS
    assert tuple(getattr(torch, name) for name in export.DTYPES) == tuple(TOLERANCE)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["torchscript", "pt2"])
def test_a_file_gives_the_numbers_of_the_network(kind, dtype, tmp_path):
    for agent_type in ("AC-IQN", "IQN"):
        written(agent_type, kind, dtype, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not ONNX, reason="needs onnx")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("agent_type", LEARNERS)
def test_so_does_that_of_every_learner(agent_type, kind, dtype, tmp_path):
    if kind == "onnx" and dtype == torch.float64 and agent_type in WITH_ATAN:
        with pytest.raises(ExportError, match="onnxruntime has no operator Atan"):
            export_model(learner_of(agent_type, dtype), tmp_path / "model.onnx", kind)
        assert not list(tmp_path.iterdir())
    else:
        written(agent_type, kind, dtype, tmp_path)


@pytest.mark.skipif(not ONNX, reason="needs onnx")
def test_a_policy_of_the_zoo_as_onnx(tmp_path, capsys):
    command = ["--zoo", "sac", "--format", "onnx", "-o", str(tmp_path)]
    assert export.main(command) == 0
    assert (
        "SAC_model.onnx: ((1, 7), (1, 5, 5), (1, 5)) -> ((1, 2), (1, 2)); within " in capsys.readouterr().out
    )
    assert export.main([*command, "--check"]) == 0
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "SAC_model.onnx")
    names = [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]
    assert names == (["self_state", "objects_state", "objects_mask"], ["mean", "log_std"])
    seen = {
        "self_state": np.ones((1, 7)),
        "objects_state": np.zeros((1, 5, 5)),
        "objects_mask": np.zeros((1, 5)),
    }
    mean, _ = session.run(None, seen)
    actor = load_agent(models.folder("sac"), dtype=torch.float64).learner.acting_network
    expected, _ = actor.distribution(tuple(map(torch.from_numpy, seen.values())))
    np.testing.assert_allclose(mean, expected.detach(), rtol=1e-10)


def test_a_file_that_computes_something_else_is_told(tmp_path, capsys):
    command = ["--zoo", "sac", "-o", str(tmp_path)]
    assert export.main(command) == 0
    assert export.main([*command, "--check"]) == 0
    shutil.copytree(models.folder("sac"), tmp_path / "other")
    weights = torch.load(tmp_path / "other" / "actor_network_params.pth", weights_only=True)
    weights["self_encoder.0.bias"] += 1e-6
    torch.save(weights, tmp_path / "other" / "actor_network_params.pth")
    capsys.readouterr()
    assert export.main(["-M", str(tmp_path / "other"), "-o", str(tmp_path), "--check"]) == 2
    assert "SAC in float64: relative difference from the network is " in capsys.readouterr().err


def test_nothing_is_written_that_differs(tmp_path, monkeypatch):
    learner = learner_of("DQN", torch.float64)
    broken = FORMATS["torchscript"]._replace(read=lambda data: lambda state: torch.zeros(1, 25))
    monkeypatch.setitem(FORMATS, "torchscript", broken)
    with pytest.raises(ExportError, match="relative difference from the network is inf"):
        export_model(learner, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_the_comparison_sees_every_input():
    learner = learner_of("IQN", torch.float64)
    with planner_of(learner) as planner:
        assert difference(planner, planner.module) == 0
        for part in range(3):

            def without(state, taus, part=part):
                return planner.module(tuple(x * (k != part) for k, x in enumerate(state)), taus)

            assert difference(planner, without) > 1e-6
        assert difference(planner, lambda state, taus: planner.module(state, taus * 0)) > 1e-6
    assert CASES > 6  # none to five objects


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--zoo", "sac", "--check"], "No such file or directory: 'traced_SAC_model.pt'"),
        (["--zoo", "none"], "'none' is not in the zoo"),
    ],
)
def test_what_is_not_there_is_named(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export.main(arguments) in (1, 2)
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1


def test_a_torn_file_is_refused(tmp_path, capsys):
    (tmp_path / "traced_SAC_model.pt").write_bytes(b"torn")
    assert export.main(["--zoo", "sac", "-o", str(tmp_path), "--check"]) == 2
    assert "cannot be read as torchscript" in capsys.readouterr().err


def test_missing_packages_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(FORMATS, "onnx", FORMATS["onnx"]._replace(packages=("no_such_package",)))
    assert export.main(["--zoo", "sac", "--format", "onnx", "-o", str(tmp_path)]) == 2
    assert 'onnx needs no_such_package: pip install "marinenav[export]"' in capsys.readouterr().err
