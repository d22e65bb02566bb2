"""The same from Python: what the commands do, called as functions."""

import json
import multiprocessing
import threading

import pytest
import torch

import torchrl_gpu
import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from agents.models.files import ModelFileError
from tests.e2e.test_train_cli import SMALL
from torchrl_gpu.settings.parse import ConfigError

pytestmark = pytest.mark.forks


@pytest.fixture
def config(tmp_path, monkeypatch):
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 10)
    return SMALL | {"save_dir": str(tmp_path / "runs")}


def test_a_training_tells_what_it_came_to(config, capsys):
    seen = []
    result = torchrl_gpu.train(
        config, on_evaluation=lambda timestep, metrics: seen.append((timestep, metrics))
    )
    assert [timestep for timestep, _ in seen] == [16, 20, 40]
    assert result.timesteps == 41
    assert (result.success, result.mean_return) == seen[-1][1][1:3]
    assert json.loads((result.folder / "finished.json").read_text())["timesteps"] == 41
    assert capsys.readouterr() == ("", "")
    policy = torchrl_gpu.load_policy(result.folder)
    assert int(policy.act(([0.0] * 7, []))) in range(25)


def test_a_config_may_be_a_file(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"total_timesteps": 17}))
    result = torchrl_gpu.train(path)
    assert result.timesteps == 18
    assert 0 <= result.success <= 1


def test_what_a_listener_raises_ends_a_training(config):
    def prune(timestep, metrics):
        raise StopIteration("enough")

    with pytest.raises(StopIteration, match="enough"):
        torchrl_gpu.train(config, on_evaluation=prune)


def test_sweeps_and_bad_configs_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="describes 2 trials"):
        torchrl_gpu.train(config | {"seed": [0, 1]})
    with pytest.raises(ConfigError, match="batch_size"):
        torchrl_gpu.train(config | {"batch_size": 0})
    with pytest.raises(ConfigError, match="'tpu'"):
        torchrl_gpu.train(config, device="tpu")
    with pytest.raises(ValueError, match="verbosity is 'loud'; allowed are quiet, normal, verbose"):
        torchrl_gpu.train(config, verbosity="loud")
    assert not (tmp_path / "runs").exists()


def test_in_a_thread(config):
    results = []
    thread = threading.Thread(target=lambda: results.append(torchrl_gpu.train(config)))
    thread.start()
    thread.join()
    assert results[0].timesteps == 41


def test_in_a_pool(config):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(torchrl_gpu.train, (config,)).timesteps == 41


@pytest.mark.parametrize("batched", [False, True])
def test_an_evaluation_discounts_as_its_config_says_and_leaves_the_policy_its_own(config, batched):
    policy = torchrl_gpu.load_policy("ORCA")
    own = policy.GAMMA
    returns = [
        torchrl_gpu.evaluate(policy, config | {"discount": gamma}, batched=batched).metrics.mean_return
        for gamma in (own, 0.5)
    ]
    assert returns[0] != returns[1]
    assert own == policy.GAMMA


@pytest.mark.parametrize("batched", [False, True])
def test_an_evaluation_repeats_itself_and_leaves_the_generators(config, batched):
    folder = torchrl_gpu.train(config).folder
    before = torch.get_rng_state()
    first = torchrl_gpu.evaluate(folder, config, batched=batched)
    again = torchrl_gpu.evaluate(torchrl_gpu.load_policy(folder), config, batched=batched)
    assert first.metrics == again.metrics
    assert first.metrics.episodes == len(first.results) == sum(config["eval_schedule"]["num_episodes"])
    other = torchrl_gpu.evaluate(folder, config, batched=batched, episode_seed=7)
    assert other.metrics.mean_return != first.metrics.mean_return
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        torchrl_gpu.load_policy(tmp_path)


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="no attribute 'trainn'"):
        _ = torchrl_gpu.trainn
