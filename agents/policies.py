"""A policy from its name or from the files that hold it."""

from pathlib import Path

import torch

from agents.agent import Agent
from agents.classical import CLASSICAL, ClassicalPolicy
from agents.models.folder import load_agent

DISCRETE = "-discrete"
"""Ending of the name of a classical policy that chooses among the 25 discrete actions."""

CLASSICAL_NAMES = tuple(name + ending for name in CLASSICAL for ending in ("", DISCRETE))
"""Names of policies that need no files."""


def load_policy(
    source: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    agent_type: str | None = None,
    trust: bool = False,
) -> Agent | ClassicalPolicy:
    """A classical policy by its name, else an agent from a model folder or a traced file; see `load_agent`.

    Raises:
        ModelFileError: there is neither.
    """
    name = str(source)
    if name in CLASSICAL_NAMES and agent_type is None:
        return CLASSICAL[name.removesuffix(DISCRETE)](continuous=not name.endswith(DISCRETE))
    return load_agent(source, device, dtype, agent_type, trust)
