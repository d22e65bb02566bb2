"""An agent from whatever holds one: a model folder, or a traced file."""

from pathlib import Path

import torch

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.files import ModelFileError, read_constructor_parameters
from agents.models.traced import agent_from_traced
from agents.models.weights import acting_files, folder_agent_type


def load_agent(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    agent_type: str | None = None,
    trust: bool = False,
) -> Agent:
    """Build an agent that acts, but has no optimisers, from a model folder or a traced file.

    Building networks reseeds torch's generator, as it always does (agents spec 2).

    Args:
        path: a legacy model folder, or a TorchScript file (see `agents.models.traced`).
        device: where the networks live.
        dtype: precision; float32 for a folder and float64 for a traced file unless given.
        agent_type: a key of `LEARNERS`; found out unless given.
        trust: whether a traced file that cannot be read as data may be executed.

    Raises:
        ModelFileError: what is there is no model, or not of this agent type.
    """
    path = Path(path)
    if path.is_dir():
        return _agent_from_folder(path, device, dtype or torch.float32, agent_type)
    return agent_from_traced(path, device, dtype or torch.float64, agent_type, trust)


def _agent_from_folder(
    directory: Path, device: str | torch.device, dtype: torch.dtype, agent_type: str | None
) -> Agent:
    """Build an agent of the folder's type and sizes; see `load_agent`."""
    agent_type = agent_type or folder_agent_type(directory)
    path = directory / acting_files(agent_type).constructor_parameters
    arguments = read_constructor_parameters(path)
    # Each network's own seed differs from the agent's, and the number of atoms is Rainbow's own.
    arguments = {name: value for name, value in arguments.items() if name not in ("seed", "atoms")}
    keys = {
        name: arguments.pop(name) for name in LEARNERS[agent_type].Settings.model_fields.keys() & arguments
    }
    try:
        settings = LEARNERS[agent_type].Settings(**keys)
        agent = Agent(agent_type=agent_type, settings=settings, device=device, training=False, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        said = str(error).partition("\n")[0]  # torch adds its own stack
        raise ModelFileError(path, f"no network can be built from it: {said}") from error
    agent.load_model(directory)
    agent.learner.to_dtype(dtype)
    return agent
