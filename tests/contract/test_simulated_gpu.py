"""Trainings for a GPU run on a simulated one: devices are never mixed, and the host does not wait."""

import pytest
import torch

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from marinenav_env.envs.torchrl_gpu import world as vector_world
from tests.contract.simulated_gpu import simulated_gpu, waits, watch
from tests.contract.simulated_graphs import Graph
from tests.contract.test_gpu_training_step import ONE_SMALL_EPISODE
from torchrl_gpu.experiment import build_trainer
from torchrl_gpu.settings.parse import make_trials
from torchrl_gpu.watch import progress
from torchrl_gpu.watch.progress import Verbosity

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")

ENVS = 3
CONFIG = {
    "seed": 3,
    "save_dir": "unused",
    "total_timesteps": 30,
    "eval_freq": 10_000,
    "training_schedule": {
        "timesteps": [0, 6],
        "num_robots": [2, 3],
        "num_cores": [0, 1],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [20.0, 20.0],
    },
    "eval_schedule": ONE_SMALL_EPISODE,
    "imitation_learning": False,
    "batch_size": 3,
    "buffer_size": 150,
    "learning_starts": 9,
    "target_update_interval": 10,
}
FAST = {"num_envs": ENVS, "backend": "torch", "update_every": ENVS, "record_histories": False}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(vector_world, "POOL_SIZE", 8)
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 1)


def train(folder, unwatched_until=10**9, **options):
    """A whole training on the simulated GPU; from a timestep on, waits are noted."""
    [trial] = make_trials({**CONFIG, **options})
    with simulated_gpu():
        trainer = build_trainer(trial, "cuda", folder, Verbosity.QUIET)
        while trainer.timestep < min(unwatched_until, trial["total_timesteps"]):
            trainer._advance(folder)
        with watch():
            while trainer.timestep < trial["total_timesteps"]:
                trainer._advance(folder)
    assert trainer.updates > 0
    assert trainer.record.timesteps == [9]
    assert [graph.replays > 3 for graph in Graph.made] == [True] * ("compile" in options)


N_STEPS = {"bootstrap_steps": 3, "average_tau": 0.1, "bootstrap_on_timeout": True}
PRIORITIZED = {"prioritized_replay": True}
GRAPH = {"compile": "auto"}


@pytest.mark.parametrize(
    "options",
    [
        {"agent_type": "AC-IQN", "observation_scale": True, "action_noise": 0.1, "stage_mix": True},
        {"agent_type": "AC-IQN", **PRIORITIZED, **N_STEPS},
        {"agent_type": "IQN"},
        {"agent_type": "DDPG", **N_STEPS},
        {"agent_type": "DQN"},
        {"agent_type": "DQN", **PRIORITIZED},
        {"agent_type": "SAC", **PRIORITIZED},
        {"agent_type": "Rainbow"},
        {"agent_type": "AC-IQN", **GRAPH, **PRIORITIZED, **N_STEPS, "observation_scale": True},
        {"agent_type": "SAC", **GRAPH, "final_learning_rate": 1e-5},
        {"agent_type": "Rainbow", **GRAPH},
    ],
    ids=lambda options: " ".join(
        word
        for word in (options["agent_type"], "prioritized_replay", "compile")
        if word in (*options, options["agent_type"])
    ),
)
def test_a_training_step_in_throughput_mode_never_waits(options, tmp_path):
    """Nor where updates have become a CUDA graph, for which it waits once."""
    train(tmp_path, 21, **FAST, **options)
    assert waits == {}


@pytest.mark.parametrize(
    ("agent_type", "replay", "n"),
    [("AC-IQN", {}, 1), ("AC-IQN", PRIORITIZED, 3), ("DQN", {}, 3), ("DQN", PRIORITIZED, 1)],
    ids=["AC-IQN", "AC-IQN prioritised", "DQN n steps", "DQN prioritised"],
)
def test_a_thousand_timesteps_wait_only_to_evaluate_and_to_write_scalars(
    agent_type, replay, n, tmp_path, monkeypatch
):
    """The whole loop, its listeners included, once the memory holds more than a batch."""
    monkeypatch.setattr(progress, "MIN_LOG_STEPS", 6)
    waited = {}
    run = CONFIG | FAST | {"num_envs": 250, "update_every": 250, "total_timesteps": 1900, "buffer_size": 900}
    [trial] = make_trials(run | replay | {"agent_type": agent_type, "bootstrap_steps": n, "eval_freq": 1000})
    with simulated_gpu():
        trainer = build_trainer(trial, "cuda", tmp_path, Verbosity.QUIET)
        with watch():

            def note():
                waited[trainer.timestep] = sum(waits.values())
                waits.clear()

            trainer.learn(tmp_path, note)
    assert trainer.updates >= 5
    assert trainer.record.timesteps == [9, 1000]
    # The step that evaluates begins at timestep 1000, the one after which scalars are written ends at 1500.
    assert [t for t in waited if waited[t] and t > 750] == [1250, 1500]


@pytest.mark.parametrize(
    "options",
    [
        {"agent_type": "Rainbow"},
        {"agent_type": "AC-IQN"},
        {"agent_type": "DQN", **FAST, "replay_device": "cpu"},
        {"agent_type": "DQN", **FAST, "replay_device": "cpu", **PRIORITIZED},
        {"agent_type": "DDPG", "num_envs": 2},
    ],
    ids=["Rainbow as ever", "AC-IQN as ever", "replay on the CPU", "prioritised there", "NumPy world"],
)
def test_trainings_that_may_wait_run_on_a_gpu_too(options, tmp_path):
    train(tmp_path, **options)


def test_the_simulation_refuses_what_a_gpu_refuses():
    with simulated_gpu():
        there, here = torch.zeros(3), torch.zeros(3, device="cuda")
        assert here.device == torch.device("cuda:0")
        with pytest.raises(RuntimeError, match="same device"):
            here + there
        with pytest.raises(TypeError, match="numpy"):
            here.numpy()
        assert torch.equal((here + 1).cpu(), there + 1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.tolist(),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x[torch.tensor([0])],
        lambda x: torch.tensor([1.0], device="cuda"),
    ],
    ids=["tolist", "bool", "mask", "cpu", "index", "new"],
)
def test_the_simulation_notes_what_makes_the_host_wait(ask):
    with simulated_gpu():
        x = torch.ones(3, device="cuda")
        with watch():
            (x + x).sum()
            assert waits == {}
            ask(x)
        assert sum(waits.values()) == 1
