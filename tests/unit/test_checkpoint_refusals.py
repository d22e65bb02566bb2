"""What is no model, or another one, is refused in one line that names the file; nothing is run or changed."""

import io
import json
import os
import pickle
import re
import zipfile

import pytest
import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.archive import read_parameters
from agents.models.exported import export_model
from agents.models.files import ModelFileError
from agents.models.folder import load_agent
from agents.models.traced import traced_name
from agents.models.weights import load_model, save_model
from torchrl_gpu import load_policy


def refusal(call, *arguments, **keywords):
    """Message of the ModelFileError that a call raises; it must be one line."""
    with pytest.raises(ModelFileError) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- model folders


@pytest.fixture
def folder(tmp_path):
    """Function that writes a model folder of an agent type."""

    def write(agent_type, **keywords):
        directory = tmp_path / f"{agent_type}{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        save_model(Agent(agent_type=agent_type, training=False, **keywords).learner, directory)
        return directory

    return write


@pytest.fixture
def dqn():
    return Agent(agent_type="DQN", training=False).learner


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_every_type_is_recognised_and_every_other_refused(agent_type, folder):
    directory = folder(agent_type)
    assert load_agent(directory).agent_type == agent_type
    for other in LEARNERS:
        if other != agent_type:
            agent = Agent(agent_type=other, training=False)
            message = refusal(agent.load_model, directory)
            assert re.match(rf"{re.escape(str(directory))}/\w+\.pth: ", message)
            assert message.endswith(f"belongs to a model of type {agent_type}, not {other}")
            assert refusal(load_agent, directory, agent_type=other).startswith(f"{directory}/")


@pytest.mark.parametrize("agent_type", LEARNERS)
def test_every_missing_file_is_named(agent_type, folder):
    directory = folder(agent_type)
    for path in directory.iterdir():
        content = path.read_bytes()
        path.unlink()
        assert refusal(load_agent, directory) == f"{path}: No such file or directory"
        path.write_bytes(content)
    assert load_agent(directory).agent_type == agent_type


def test_an_empty_folder_and_no_folder(tmp_path):
    assert refusal(load_agent, tmp_path).startswith(f"{tmp_path}: not a model folder")
    assert refusal(load_agent, tmp_path / "none").startswith(f"{tmp_path / 'none'}: no such file")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ("[1]", "must hold a JSON object, holds a list"),
        ('{"seed": 1}', "keys are seed; must be self_dimension, "),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_malformed_parameters(text, reason, folder, dqn):
    path = folder("DQN") / "constructor_params.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for message in (refusal(load_model, dqn, path.parent), refusal(load_agent, path.parent)):
        assert message.startswith(f"{path}: ")
        assert reason in message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("hidden_dimension", 64, "hidden_dimension is 64, this DQN needs 128"),
        ("seed", "one", "seed is 'one', must be an integer"),
        ("action_size", None, "action_size is None, this DQN needs 25"),
    ],
)
def test_other_parameters(name, value, reason, folder, dqn):
    path = folder("DQN") / "constructor_params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert refusal(load_model, dqn, path.parent) == f"{path}: {reason}"
    assert refusal(load_agent, path.parent).startswith(f"{path.parent}/")


def test_parameters_no_network_can_have(folder):
    path = folder("DQN") / "constructor_params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"concat_feature_dimension": 10}))
    assert "no network can be built from it" in refusal(load_agent, path.parent)


def test_weights_of_other_shapes(folder, dqn):
    path = folder("DQN", hidden_dimension=64) / "network_params.pth"
    message = refusal(load_model, dqn, path.parent)
    assert message == f"{path}: hidden_layer.weight has shape (64, 256), this DQN needs (128, 256)"


class Payload:
    """Creates a file when unpickled by a reader that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "content", [{"a": 1}, [torch.zeros(1)], {"a": torch.zeros(1, dtype=torch.int64)}, "payload", "torn"]
)
def test_weights_that_are_no_state_dict(content, folder, dqn, tmp_path):
    path = folder("DQN") / "network_params.pth"
    if content == "torn":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        torch.save(Payload(tmp_path / "executed") if content == "payload" else content, path)
    assert refusal(load_model, dqn, path.parent).startswith(f"{path}: ")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_have_diverged_are_named(value, folder):
    path = folder("DDPG") / "critic_network_params.pth"
    weights = torch.load(path, weights_only=True)
    weights["output_layer.bias"].fill_(value)
    torch.save(weights, path)
    message = refusal(load_agent, path.parent)
    assert message == f"{path}: output_layer.bias of this DDPG critic: not all numbers are finite"


def test_traced_weights_that_have_diverged_are_named(tmp_path):
    path = tmp_path / traced_name("DQN")
    agent = Agent(agent_type="DQN", training=False)
    agent.learner.to_dtype(torch.float64)
    agent.policy_local.output_layer.bias.data[3] = float("nan")
    export_model(agent.learner, path)
    assert refusal(load_agent, path) == f"{path}: output_layer.bias of this DQN: not all numbers are finite"


def test_a_refused_folder_changes_nothing(folder):
    directory = folder("SAC", seed=5)
    (directory / "critic_2_constructor_params.json").write_text("{}")
    learner = Agent(agent_type="SAC", training=False).learner
    before = {name: tensor.clone() for name, tensor in learner.policy_local.actor.state_dict().items()}
    refusal(load_model, learner, directory)
    for name, tensor in learner.policy_local.actor.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_saving_leaves_nothing_aside_and_a_failure_leaves_the_old_files(folder, monkeypatch):
    directory = folder("SAC")
    names = sorted(path.name for path in directory.iterdir())
    old = {name: (directory / name).read_bytes() for name in names}
    learner = Agent(agent_type="SAC", training=False, seed=9).learner

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(type(learner.policy_local.critic_2), "get_constructor_parameters", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(learner, directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == old


# ---- traced files


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A traced DQN."""
    agent = Agent(agent_type="DQN", training=False)
    agent.learner.to_dtype(torch.float64)
    path = tmp_path_factory.mktemp("traced") / traced_name("DQN")
    export_model(agent.learner, path)
    return path


def rewritten(source, target, change=lambda name, content: content, compression=zipfile.ZIP_STORED):
    """Copy an archive, every record passed through `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def test_parameters_are_read_without_loading_the_code(traced, tmp_path, monkeypatch):
    without_code = rewritten(
        traced, tmp_path / traced.name, lambda name, content: b"" if "/code/" in name else content
    )
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("executed"))
    expected = load_agent(traced).learner.acting_network.state_dict()
    for name, tensor in load_agent(without_code).learner.acting_network.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_reading_agrees_with_torch(traced):
    ours, theirs = read_parameters(traced), torch.jit.load(traced).state_dict()
    assert list(ours) == list(theirs)
    assert all(
        torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours
    )


def test_a_pickle_that_would_run_code_is_refused(traced, tmp_path):
    bad = pickle.dumps(Payload(tmp_path / "executed"), protocol=2)
    path = rewritten(
        traced, tmp_path / "bad.pt", lambda name, content: bad if name.endswith("/data.pkl") else content
    )
    for trust in (False, True):
        assert refusal(load_agent, path, trust=trust).startswith(f"{path}: ")
    assert "mkdir, which no traced network needs" in refusal(load_agent, path)
    assert not (tmp_path / "executed").exists()


def test_a_tensor_larger_than_its_bytes_is_refused(traced, tmp_path):
    path = rewritten(
        traced,
        tmp_path / "short.pt",
        lambda name, content: content[:8] if name.endswith("/data/0") else content,
    )
    assert "over 1 stored numbers" in refusal(load_agent, path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_no_archive(content, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert refusal(load_agent, path).startswith(f"{path}: not a readable TorchScript file")
    assert refusal(load_agent, path, trust=True).startswith(f"{path}: torch.jit.load cannot load it")


def test_weights_saved_by_torch_save_are_no_traced_file(tmp_path):
    buffer = io.BytesIO()
    torch.save(Agent(agent_type="DQN", training=False).policy_local.state_dict(), buffer)
    path = tmp_path / "weights.pth"
    path.write_bytes(buffer.getvalue())
    assert "a zip archive without a TorchScript module" in refusal(load_agent, path)


def test_compressed_records_are_refused(traced, tmp_path):
    # torch never writes them compressed, and a small file could unpack to any size.
    path = rewritten(traced, tmp_path / traced.name, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(load_agent, path)


def test_trust_loads_what_cannot_be_read(traced, tmp_path, monkeypatch):
    path = tmp_path / traced.name
    path.write_bytes(traced.read_bytes())
    expected = load_agent(path).learner.acting_network.state_dict()
    monkeypatch.setattr("agents.models.archive._STORAGE_DTYPES", {})
    assert "DoubleStorage" in refusal(load_agent, path)
    for name, tensor in load_agent(path, trust=True).learner.acting_network.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_the_name_must_agree_with_the_parameters(traced, tmp_path):
    path = tmp_path / traced_name("IQN")
    path.write_bytes(traced.read_bytes())
    assert refusal(load_agent, path).startswith(f"{path}: not the weights of IQN: cos_embedding.bias")
    assert load_agent(path, agent_type="DQN").agent_type == "DQN"


def test_equal_actors_are_told_apart_by_name(tmp_path):
    agent = Agent(agent_type="DDPG", training=False)
    agent.learner.to_dtype(torch.float64)
    path = tmp_path / "model.pt"
    export_model(agent.learner, path)
    message = refusal(load_agent, path)
    which = "say which one it is (agent_type, --agent-type), or name it like traced_AC_IQN_model.pt"
    assert message == f"{path}: fits AC-IQN, DDPG and TD3 alike: {which}"
    assert load_policy(path, agent_type="TD3").agent_type == "TD3"
    assert load_agent(path.rename(tmp_path / traced_name("AC-IQN"))).agent_type == "AC-IQN"


def test_parameters_of_no_agent(tmp_path):
    path = tmp_path / "other.pt"
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2))), path)
    assert "not the parameters of any of AC-IQN, DDPG" in refusal(load_agent, path)
