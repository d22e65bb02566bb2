"""What every learner must pass, for those that no recorded numbers guard."""

import json
import warnings
from pathlib import Path

import torch

from agents.models.exported import export_model
from agents.models.folder import load_agent
from agents.models.traced import traced_name
from scripts import evaluate
from torchrl_gpu.settings.parse import make_trials
from torchrl_gpu.train_torchrl_gpu import run_trial

CONFIGS = Path(__file__).parents[2] / "config"
STATE = [0.1 * i for i in range(7)], [[1.0, 2.0, 0.1, -0.2, 1.0]]
ONE = {"num_robots": [2], "num_cores": [0], "num_obstacles": [1], "min_start_goal_dis": [10.0]}
SHORT = {
    "seed": 5,
    "total_timesteps": 120,
    "eval_freq": 120,
    "learning_starts": 40,
    "batch_size": 16,
    "training_schedule": {"timesteps": [0], **ONE},
    "eval_schedule": {"num_episodes": [1], **ONE},
}
FAST = {"num_envs": 4, "backend": "torch"}


def train_both_modes(config: str, folder: Path) -> None:
    """A short run of the shipped config in each mode changes the weights and leaves a model to evaluate."""
    for name, keys in (("reproduction", {}), ("throughput", FAST)):
        written = json.loads((CONFIGS / f"{config}.json").read_text())
        [trial] = make_trials({**written, **SHORT, **keys})
        assert trial.reproduction == (name == "reproduction")
        (folder / name).mkdir()
        run_trial(trial, folder / name, "cpu", "quiet")
        learned = load_agent(folder / name)
        fresh = type(learned.learner)(trial.learner, seed=trial.run.seed + 100)
        for network, weights in learned.learner.networks(learned.policy_local).items():
            before = fresh.networks(fresh.policy_local)[network].state_dict()
            assert any(not torch.equal(value, before[key]) for key, value in weights.state_dict().items())
        episodes = str(folder / name / "eval_configs.json")
        report = str(folder / name / "report.json")
        assert evaluate.main(["-M", str(folder / name), "-E", episodes, "--output", report]) == 0


def assert_survives_folder(agent, folder: Path) -> None:
    """The same networks, found by their files alone."""
    agent.save_latest_model(folder)
    loaded = load_agent(folder)
    assert loaded.agent_type == agent.agent_type
    for name, network in agent.learner.networks(agent.policy_local).items():
        found = loaded.learner.networks(loaded.policy_local)[name]
        assert found.get_constructor_parameters() == network.get_constructor_parameters()
        assert all(map(torch.equal, found.state_dict().values(), network.state_dict().values()))


def assert_survives_tracing(agent, folder: Path, computed) -> None:
    """The planner's call gives what the policy computes; the file gives the agent back."""
    agent.learner.to_dtype(torch.float64)
    path = folder / traced_name(agent.agent_type)
    export_model(agent.learner, path)
    state = tuple(torch.rand(shape, dtype=torch.float64) for shape in ((1, 7), (1, 5, 5), (1, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of newer versions of torch
        traced = torch.jit.load(path)
    with torch.no_grad():
        torch.testing.assert_close(traced(state), computed(agent.policy_local, state))
    assert load_agent(path).act(STATE) == agent.act(STATE)
