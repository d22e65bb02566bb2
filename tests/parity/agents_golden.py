"""Reads the recorded agents cases and compares agents with them."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.agent import Agent
from agents.batch import State
from agents.legacy.agent import LegacyAgent

# On unnormalised inputs (thrusts up to 1000) float32 is good for this much: the recorded outputs of forward
# passes are up to 6e-6 of their scale away from the float64 result, and so are those of other processors.
FLOAT32_FORWARD = 5e-6

AGENTS = ("AC-IQN", "IQN", "DDPG", "DQN", "SAC", "Rainbow")


def load(golden: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(golden / "agents" / f"{name}.npz") as file:
        return dict(file)


def config(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "agents" / "config.json").read_text())


def assert_close(actual: Any, expected: Any, rtol: float = 1e-6) -> None:
    """Equal to `rtol` of the array's largest value.

    Relative to the scale, not to each number: where terms cancel, a last-bit difference between two vector
    instruction sets is a large part of what is left.
    """
    expected = np.asarray(expected, dtype=np.float64)
    scale = np.nanmax(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(np.asarray(actual, dtype=np.float64), expected, rtol=0, atol=rtol * scale)


def seed_generators(seeds: dict[str, int]) -> None:
    random.seed(seeds["random"])
    np.random.seed(seeds["numpy"])
    torch.manual_seed(seeds["torch"])


def assert_generators(case: dict[str, np.ndarray], prefix: str) -> None:
    """The next numbers of the three generators, exactly. They are drawn here."""
    if f"{prefix}.torch_initial_seed" in case:
        assert torch.initial_seed() == case[f"{prefix}.torch_initial_seed"]
    assert [random.random() for _ in range(2)] == case[f"{prefix}.python2"].tolist()
    assert np.random.random_sample(2).tolist() == case[f"{prefix}.numpy2"].tolist()
    assert torch.rand(4).tolist() == case[f"{prefix}.torch4"].tolist()


def states(case: dict[str, np.ndarray], prefix: str) -> list[State]:
    """Observation pairs from the arrays `<prefix>self`, `<prefix>objects`, `<prefix>counts`."""
    arrays = (case[f"{prefix}{part}"] for part in ("self", "objects", "counts"))
    return [(own.tolist(), objects[:count].tolist()) for own, objects, count in zip(*arrays, strict=True)]


def assert_networks(case: dict[str, np.ndarray], prefix: str, agent: Agent, policy: Any, rtol: float) -> None:
    for name, network in agent.learner.networks(policy).items():
        assert_network(case, f"{prefix}.{'policy' if name == 'network' else name}", network, rtol)


def assert_network(case: dict[str, np.ndarray], prefix: str, network: nn.Module, rtol: float) -> None:
    """Names and order of all tensors exactly; values bit by bit, or to `rtol` of the tensor's scale."""
    state = network.state_dict()
    assert list(state) == case[f"{prefix}.names"].tolist()
    for k, tensor in enumerate(state.values()):
        values = tensor.numpy().astype("<f4")
        if hashlib.sha256(values.tobytes()).hexdigest() == case[f"{prefix}.sha256"][k]:
            continue
        wide = values.astype(np.float64).ravel()
        scale = np.abs(wide).max()
        for part, key in ((wide[:5], "first5"), (wide[-5:], "last5")):
            if f"{prefix}.{key}" in case:
                expected = case[f"{prefix}.{key}"][k]
                expected = expected[~np.isnan(expected)]
                np.testing.assert_allclose(part[: len(expected)], expected, rtol=0, atol=rtol * scale)
        sums = case[f"{prefix}.sum"][k], case[f"{prefix}.abs_sum"][k]
        np.testing.assert_allclose((wide.sum(), np.abs(wide).sum()), sums, rtol=0, atol=rtol * sums[1])


def filled_agent(golden: Path, agent_type: str, **kw: Any) -> LegacyAgent:
    """The agent of the update cases, its memory filled with the 400 recorded transitions."""
    seed = config(golden)["update"][0]["agent_seed"]
    agent = LegacyAgent(seed=seed, agent_type=agent_type, BUFFER_SIZE=2000, **kw)
    case = load(golden, "transitions_continuous" if agent.continuous else "transitions_discrete")
    columns = (
        states(case, ""),
        case["actions"].tolist(),
        case["rewards"].tolist(),
        states(case, "next_"),
        case["dones"].tolist(),
    )
    for transition in zip(*columns, strict=True):
        agent.store(*transition)
    return agent
