"""Throughput mode gives what it gave: weights after short trainings of every learner, recorded here.

Reproduction mode has the legacy numbers; this mode has none but its own of before. What is recorded is a
sample of the weights, to be met within what rounding on another processor may do; other draws or other
mathematics miss it by far.

Worlds and networks compute in float64 here. Adam divides small gradients by themselves, so that the rounding
of float32 tears two processors 0.02 apart within these 52 updates; in float64 AVX2 and AVX-512 agree to 1e-7.
Processors with neither round the initial weights in another way, and miss.

Record anew, with a reason in the commit, by ``python -m tests.parity.test_throughput_oracle``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import batch
from agents.agent import Agent
from torchrl_gpu import experiment, train_torchrl_gpu
from torchrl_gpu.evaluation import batched
from torchrl_gpu.settings.trial import Trial

GOLDEN = Path(__file__).parents[1] / "golden" / "throughput" / "weights.json"
SAMPLES = 64
"""Weights recorded of every file."""
TOLERANCE = 1e-3
"""About a tenth of what a weight moves in such a training."""

STAGE = {
    "num_robots": [3, 4],
    "num_cores": [0, 1],
    "num_obstacles": [1, 2],
    "min_start_goal_dis": [20.0, 25.0],
}
COMMON = {
    "seed": 3,
    "total_timesteps": 300,
    "eval_freq": 296,
    "training_schedule": {"timesteps": [0, 150], **STAGE},
    "eval_schedule": {"num_episodes": [1, 1], **STAGE},
    "imitation_learning": False,
    "num_envs": 8,
    "backend": "torch",
    "learning_starts": 96,
    "update_every": 4,
    "target_update_interval": 40,
    "tau": 0.5,
    "batch_size": 32,
    "buffer_size": 2000,
    "learning_rate": 1e-3,
    "record_histories": False,
}
SCALED = {
    "observation_scale": True,
    "bootstrap_on_timeout": True,
    "bootstrap_steps": 3,
    "prioritized_replay": True,
    "action_noise": 0.1,
    "exploring_envs": 0.5,
    "collision_penalty": -10.0,
    "average_tau": 0.1,
    "final_learning_rate": 1e-4,
    "max_grad_norm": 10.0,
    "stage_mix": True,
    "cvar": 0.75,
    "num_quantiles": 4,
}
RUNS = {
    **{name: {"agent_type": name} for name in ("AC-IQN", "IQN", "DDPG", "DQN", "SAC", "Rainbow")},
    "AC-IQN-fast": {"agent_type": "AC-IQN", **SCALED},
    "DQN-numpy": {"agent_type": "DQN", "backend": "numpy", "num_envs": 2},
}


def trained(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Train a run of `RUNS` below ``folder``; its latest weights by file and parameter."""
    folder.mkdir(parents=True)
    config = folder / "config.json"
    config.write_text(json.dumps(COMMON | RUNS[name] | {"save_dir": str(folder / "runs")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched, "EPISODE_LIMIT", 3)  # evaluations write the weights and change nothing
        in_float64(patch)
        assert train_torchrl_gpu.main(["-C", str(config), "--quiet"]) == 0
    (trial,) = folder.glob("runs/training_*/*/")
    return {
        f"{path.name}:{key}": values.double().numpy().ravel()
        for path in sorted(trial.glob("*_params.pth"))
        for key, values in torch.load(path, weights_only=True).items()
    }


def in_float64(patch: pytest.MonkeyPatch) -> None:
    """Let throughput mode compute in float64; rows of the replay memory stay float32."""
    make_env, make_agent, split = experiment.training_env, experiment.build_agent, batch.split_rows

    def env(trial: Trial, device: str, _: torch.dtype, *others: Any) -> Any:
        return make_env(trial, device, torch.float64, *others)

    def agent(trial: Trial, device: str) -> Agent:
        made = make_agent(trial, device)
        draw = made.learner.draw_noise
        made.learner.to_dtype(torch.float64)
        made.learner.draw_noise = lambda size: {key: value.double() for key, value in draw(size).items()}
        return made

    patch.setattr(experiment, "training_env", env)
    patch.setattr(experiment, "build_agent", agent)
    patch.setattr(batch, "split_rows", lambda rows: split(rows.double()))


def sample(weights: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Of every file `SAMPLES` weights, evenly spread."""
    chosen: dict[str, list[float]] = {}
    for file in sorted({key.partition(":")[0] for key in weights}):
        values = np.concatenate([weights[key] for key in weights if key.startswith(file + ":")])
        places = np.linspace(0, len(values) - 1, SAMPLES).astype(int)
        chosen[file] = [round(float(value), 7) for value in values[places]]
    return chosen


@pytest.mark.parametrize("name", RUNS)
def test_a_short_training_ends_with_the_weights_of_before(name: str, tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    found = sample(trained(name, tmp_path / name))
    assert found.keys() == expected.keys()
    for file, values in expected.items():
        np.testing.assert_allclose(found[file], values, atol=TOLERANCE, err_msg=file)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        torch.set_num_threads(1)
        recorded = {name: sample(trained(name, Path(scratch, name))) for name in RUNS}
    GOLDEN.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
