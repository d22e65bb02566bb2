"""Trials of several seeds in one process: each ends as it would alone, whatever interrupts them."""

import json
import os
import random
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import torchrl_gpu.evaluation.batched
from agents.learners import LEARNERS
from agents.models.folder import load_agent
from torchrl_gpu.collect.policy_wrapper import PolicyWrapper
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.ranks import Ranks
from torchrl_gpu.running import run_trials
from torchrl_gpu.runs.checkpoint import Checkpoints
from torchrl_gpu.runs.cluster import RayWorkers
from torchrl_gpu.runs.folder import is_finished
from torchrl_gpu.seeding import OwnGenerators, kept_numpy, seed_everything
from torchrl_gpu.settings.parse import ConfigError, make_trials
from torchrl_gpu.torchrl_trainer import TorchRLTrainer
from torchrl_gpu.train_torchrl_gpu import check, main

CONFIG = {
    "seed": 5,
    "total_timesteps": 79,
    "eval_freq": 1000,
    "save_dir": "runs",
    "training_schedule": {
        "timesteps": [0],
        "num_robots": [2],
        "num_cores": [0],
        "num_obstacles": [1],
        "min_start_goal_dis": [8.0],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [2],
        "num_cores": [0],
        "num_obstacles": [1],
        "min_start_goal_dis": [8.0],
    },
    "imitation_learning": False,
    "agent_type": "AC-IQN",
    "num_envs": 4,
    "backend": "torch",
    "learning_starts": 40,
    "target_update_interval": 60,
    "batch_size": 8,
    "buffer_size": 300,
    "seeds_together": 3,
}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""Of float32 after ten updates."""


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A folder of its own, and evaluation episodes of 21 steps at most."""
    monkeypatch.setattr(torchrl_gpu.evaluation.batched, "EPISODE_LIMIT", 20)
    monkeypatch.chdir(tmp_path)


def run(config, name):
    """Train the trials of a config in one loop; gives their folders and trainers."""
    trials = {Path(name, trial.name): trial for trial in make_trials(config)}
    for folder in trials:
        folder.mkdir(parents=True, exist_ok=True)
    return dict(zip(trials, run_trials(trials, "cpu", "quiet"), strict=True))


def weights_of(folder):
    learner = load_agent(folder).learner
    return [
        each for network in learner.networks(learner.policy_local).values() for each in network.parameters()
    ]


def tensors_of(state):
    """All numbers of a state, but for what tells the time and how an optimiser is computed."""
    if isinstance(state, dict):
        kept = {name: each for name, each in state.items() if name not in ("minutes", "param_groups")}
        return [leaf for each in kept.values() for leaf in tensors_of(each)]
    if isinstance(state, list | tuple):
        return [leaf for each in state for leaf in tensors_of(each)]
    return [] if isinstance(state, str) or state is None else [torch.as_tensor(state)]


def assert_same_states(found, expected, **tolerance):
    for a, b in zip(tensors_of(found), tensors_of(expected), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


PRIORITIZED = {
    "prioritized_replay": True,
    "average_tau": 0.1,
    "observation_scale": True,
    "bootstrap_steps": 2,
}


@pytest.mark.parametrize(
    ("agent_type", "keys"),
    [
        ("AC-IQN", {"backend": "numpy"}),
        ("SAC", PRIORITIZED),
        *(pytest.param(name, {}, marks=pytest.mark.slow) for name in LEARNERS),
    ],
)
def test_seeds_together_end_as_each_does_alone(agent_type, keys):
    config = CONFIG | {"agent_type": agent_type} | keys
    together = run(config, "together")
    assert [folder.name for folder in together] == ["seed_5", "seed_6", "seed_7"]
    for folder, trainer in together.items():
        seed = int(folder.name.removeprefix("seed_"))
        ((alone, other),) = run(config | {"seed": seed, "seeds_together": 1}, "alone").items()
        assert trainer.updates == other.updates == 10
        # Everything: weights, Adam's moments, worlds, transitions, priorities, generators.
        assert_same_states(trainer.state_dict(), other.state_dict(), **TOLERANCE)
        for a, b in zip(weights_of(folder), weights_of(alone), strict=True):
            torch.testing.assert_close(a, b, **TOLERANCE)
        assert EvaluationRecord.load(folder).timesteps == EvaluationRecord.load(alone).timesteps == [40]
        assert is_finished(folder)
    first, second, _ = (trainer.agent.learner.state_dict() for trainer in together.values())
    assert not torch.equal(tensors_of(first)[0], tensors_of(second)[0])


def command(*arguments):
    """Exit status of the command line, in this process."""
    return main([*arguments, "--quiet"])


def series_of(run):
    """What the trials of a run have written about how they went, but for the speed."""
    paths = sorted(path for path in run.rglob("*.csv") if path.parent.name != "speed")
    return {str(path.relative_to(run)): path.read_text() for path in paths}


def the_run():
    (found,) = Path("runs").iterdir()
    return found


NUMPY = CONFIG | {"backend": "numpy", "agent_type": "DQN", "checkpoint_every": 20, "checkpoint_keep": 1}


@pytest.fixture
def whole():
    """A run that nothing interrupted: its weights and series."""
    Path("config.json").write_text(json.dumps(NUMPY))
    assert command("-C", "config.json") == 0
    run = the_run()
    assert [folder.name for folder in sorted(run.glob("seed_*"))] == ["seed_5", "seed_6", "seed_7"]
    weights = {folder.name: weights_of(folder) for folder in run.glob("seed_*")}
    series = series_of(run)
    run.rename("whole")
    return weights, series


def assert_ended_as(whole):
    weights, series = whole
    run = the_run()
    assert series_of(run) == series
    for name, expected in weights.items():
        assert all(map(torch.equal, weights_of(run / name), expected))
        assert is_finished(run / name)


def broken_at(monkeypatch, number, error=KeyboardInterrupt):
    """Let checkpoints end the process, so to speak, at the ``number``-th one."""
    save, calls = Checkpoints.save, []

    def counted(self):
        calls.append(self)
        if len(calls) == number:
            raise error
        return save(self)

    monkeypatch.setattr(Checkpoints, "save", counted)


# The sixth is the last seed's second, at timestep 40: the others have it already.
@pytest.mark.parametrize("number", [2, 6])
def test_seeds_that_are_killed_go_on_from_their_last_common_checkpoint(number, whole, monkeypatch):
    with monkeypatch.context() as patch:
        broken_at(patch, number)
        assert command("-C", "config.json") == 1
    assert command("--resume", str(the_run())) == 0
    assert_ended_as(whole)


def test_seeds_asked_to_stop_all_save_and_go_on(whole, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        calls = []

        def explore_at(self, eps, original=PolicyWrapper.explore_at):
            calls.append(eps)
            if len(calls) == 40:  # in the second seed's step 14
                os.kill(os.getpid(), signal.SIGTERM)
            original(self, eps)

        patch.setattr(PolicyWrapper, "explore_at", explore_at)
        assert command("-C", "config.json") == 1
    said = capsys.readouterr().err
    assert f"to go on from timestep 56: marinenav train --resume {the_run()} -D cpu" in said
    assert "3 of 3 trials did not finish: seed_5, seed_6, seed_7" in said
    assert command("--resume", str(the_run())) == 0
    assert_ended_as(whole)


def test_one_of_the_seeds_goes_on_alone(whole, monkeypatch):
    with monkeypatch.context() as patch:
        broken_at(patch, 7)
        assert command("-C", "config.json") == 1
    run = the_run()
    assert command("--resume", str(run / "seed_6")) == 0
    assert [is_finished(run / f"seed_{seed}") for seed in (5, 6, 7)] == [False, True, False]
    for a, b in zip(weights_of(run / "seed_6"), whole[0]["seed_6"], strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
    assert command("--resume", str(run)) == 0  # the other two
    assert [is_finished(run / f"seed_{seed}") for seed in (5, 6, 7)] == [True] * 3


def test_a_seed_that_diverges_is_named(monkeypatch, capsys):
    def spoilt(self, *args, original=TorchRLTrainer.advance):
        if self.timestep == 60 and self.progress.name == "seed_6":
            next(iter(self.agent.learner.acting_network.parameters())).data.fill_(torch.nan)
        return original(self, *args)

    monkeypatch.setattr(TorchRLTrainer, "advance", spoilt)
    Path("config.json").write_text(json.dumps(NUMPY | {"checkpoint_every": 0, "eval_freq": 72}))
    assert command("-C", "config.json") == 1
    said = capsys.readouterr().err
    assert (
        "trials seed_5, seed_6, seed_7 failed: DivergedError: seed_6: weights of network are no finite"
        in said
    )


# ---- what a config means


def names_of(**keys):
    return [(trial.name, trial.leader) for trial in make_trials(CONFIG | keys)]


def test_seeds_follow_on_the_first_in_every_point_of_a_sweep():
    assert names_of(seed=[0, 3], seeds_together=2) == [
        ("seed_0", "seed_0"),
        ("seed_1", "seed_0"),
        ("seed_3", "seed_3"),
        ("seed_4", "seed_3"),
    ]
    assert [leader for _, leader in names_of(tau=[0.5, 1.0], seeds_together=2)] == [
        "seed_5_tau_0.5",
        "seed_5_tau_0.5",
        "seed_5_tau_1.0",
        "seed_5_tau_1.0",
    ]
    assert names_of(seeds_together=1) == [("seed_5", "")]


def test_a_trial_of_many_seeds_is_that_of_its_own():
    for trial, alone in zip(
        make_trials(CONFIG), make_trials(CONFIG | {"seed": [5, 6, 7], "seeds_together": 1}), strict=True
    ):
        assert trial.values == {
            name: value for name, value in alone.values.items() if name != "seeds_together"
        }
        assert trial.identity == alone.identity


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"num_envs": 1, "backend": "numpy"}, "3 needs throughput mode; reproduction mode gives the numbers"),
        ({"collectors": 2}, "3 is not for 'collectors', here 2, which collect for one trial"),
        ({"scheduler": "asha"}, "3 is not for 'scheduler' \"asha\", which stops trials one by one"),
        (
            {"learning_starts": 4},
            "3 needs a later 'learning_starts' than 4: .* 'batch_size', 8, and 8 are sure",
        ),
        ({"seeds_together": 0}, "0 is not allowed; it must be a whole number from 1 to 1000"),
    ],
)
def test_what_does_not_go_together_is_refused(keys, line):
    with pytest.raises(ConfigError, match=f"key 'seeds_together': {line}"):
        make_trials(CONFIG | keys)


def test_overlapping_seeds_are_refused():
    with pytest.raises(ConfigError, match=r"two trials would write into runs/.../seed_6"):
        make_trials(CONFIG | {"seed": [5, 6]})


def test_processes_of_torchrun_are_refused():
    with pytest.raises(
        ConfigError, match=r"key 'seeds_together': 3 is for one process, here are 2 of torchrun"
    ):
        check(make_trials(CONFIG)[0], 1, "cpu", Ranks(0, 2, 0, 2))


def test_ray_is_refused():
    ray = SimpleNamespace(remote=lambda **options: lambda function: function)
    with pytest.raises(ConfigError, match=r"key 'seeds_together': 3 is for one process; .* with --ray"):
        RayWorkers(ray, "local", 2).check(make_trials(CONFIG), "cpu")


def test_the_memory_of_all_seeds_counts(capsys):
    Path("config.json").write_text(json.dumps(CONFIG | {"buffer_size": 10**9}))
    assert command("-C", "config.json") == 2
    assert "1000000000 transitions in each of 3 trials need" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_generators_of_one_are_not_those_of_others():
    """NumPy's, Python's and torch's; afterwards NumPy's is the one of before."""
    before = np.random.get_bit_generator()
    seed_everything(1)
    expected = [(random.random(), np.random.rand(), torch.rand(()).item()) for _ in range(3)]
    with kept_numpy():
        seed_everything(1)
        first = OwnGenerators("cpu")
        seed_everything(2)
        second = OwnGenerators("cpu")
        found = []
        for _ in range(3):
            with first.in_place():
                found.append((random.random(), np.random.rand(), torch.rand(()).item()))
            with second.in_place():
                random.random(), np.random.rand(), torch.rand(())
            with second.of_torch():
                torch.rand(())
    assert found == expected
    assert np.random.get_bit_generator() is before
