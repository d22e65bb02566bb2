"""Agents in files: legacy model folders in and out, and an agent from a folder or a traced file.

A model folder holds, for each local network, a ``state_dict`` written by ``torch.save`` and a JSON object of
constructor parameters, named by ``Learner.model_files`` (agents spec 10). Target networks, optimisers and
memories are not in it (Defect T23): training can start from a folder, but not resume.
"""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.learners.base import Learner
from agents.models.files import (
    ModelFileError,
    check_parameters,
    check_weights,
    read_constructor_parameters,
    read_weights,
    write_networks,
)
from agents.models.traced import agent_from_traced


def save_model(learner: Learner, directory: str | Path) -> None:
    """Write the local networks of a learner as a legacy model folder.

    Args:
        learner: the learner; its ``policy_local`` is written.
        directory: an existing folder; files of the same names are replaced.
    """
    write_networks(learner.networks(learner.policy_local), directory)


def load_model(learner: Learner, directory: str | Path, device: str | torch.device = "cpu") -> None:
    """Load a legacy model folder into the networks of a learner, local and target.

    The parameters are overwritten in place, so that the optimisers go on with them, and the target starts as
    their copy. The legacy loader put new networks in place of the local ones, and a run started from a model
    never learned (Defects A12, T10). No random generator is touched. Nothing changes if anything is wrong.

    Args:
        learner: a learner of the type and the sizes of the folder.
        directory: the model folder.
        device: where the weights are read to, on their way to the networks' own device.

    Raises:
        ModelFileError: a file is missing or malformed, or holds networks of another type or size.
    """
    directory = Path(directory)
    try:
        contents = _read_folder(learner, directory, device)
    except ModelFileError as problem:
        found = folder_agent_type(directory)
        if found == learner.name:
            raise
        path = directory / next(iter(LEARNERS[found].model_files.values())).weights
        raise ModelFileError(path, f"belongs to a model of type {found}, not {learner.name}") from problem
    for policy in (learner.policy_local, learner.policy_target):
        for name, network in learner.networks(policy).items():
            weights, network.seed_id = contents[name]
            network.load_state_dict(weights)


def _read_folder(
    learner: Learner, directory: Path, device: str | torch.device
) -> dict[str, tuple[dict[str, Tensor], int]]:
    """Weights and seed of every network of a folder that fits a learner."""
    contents = {}
    for name, network in learner.networks(learner.policy_local).items():
        files = learner.model_files[name]
        label = learner.name if name == "network" else f"{learner.name} {name}"
        weights = read_weights(directory / files.weights, device)
        check_weights(network, weights, directory / files.weights, label)
        parameters = read_constructor_parameters(directory / files.constructor_parameters)
        check_parameters(network, parameters, directory / files.constructor_parameters, label)
        contents[name] = weights, parameters["seed"]
    return contents


def load_agent(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    agent_type: str | None = None,
    trust: bool = False,
) -> Agent:
    """Build an agent that acts, but has no memory and no optimisers, from a model folder or a traced file.

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
        return agent_from_folder(path, device, dtype or torch.float32, agent_type)
    return agent_from_traced(path, device, dtype or torch.float64, agent_type, trust)


def agent_from_folder(
    directory: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    agent_type: str | None = None,
) -> Agent:
    """Build an agent of the folder's type and sizes; see `load_agent`."""
    agent_type = agent_type or folder_agent_type(directory)
    acting_files = next(iter(LEARNERS[agent_type].model_files.values()))
    path = directory / acting_files.constructor_parameters
    parameters = read_constructor_parameters(path)
    # Each network's own seed differs from the agent's, and the number of atoms is Rainbow's own.
    arguments = {name: value for name, value in parameters.items() if name not in ("seed", "atoms")}
    try:
        agent = Agent(agent_type=agent_type, device=device, training=False, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        said = str(error).partition("\n")[0]  # torch adds its own stack
        raise ModelFileError(path, f"no network can be built from it: {said}") from error
    load_model(agent.learner, directory)
    agent.learner.to_dtype(dtype)
    return agent


def folder_agent_type(directory: Path) -> str:
    """Find out the agent type of a model folder from its file names and the names of its weights.

    Raises:
        ModelFileError: it is no model folder, incomplete, or of none of the six types.
    """
    best = max(LEARNERS.values(), key=lambda learner: _files_present(learner, directory))
    if _files_present(best, directory)[0] == 0:
        raise ModelFileError(directory, "not a model folder: it has none of the files of a model")
    candidates = [name for name, each in LEARNERS.items() if each.model_files == best.model_files]
    found = {name: read_weights(directory / files.weights).keys() for name, files in best.model_files.items()}
    for agent_type in candidates:
        if _weight_names(agent_type) == found:
            return agent_type
    path = directory / next(iter(best.model_files.values())).weights
    raise ModelFileError(path, f"not the weights of {' or '.join(candidates)}")


def _files_present(learner: type[Learner], directory: Path) -> tuple[int, int]:
    """Files of a type that a folder has, and minus those it lacks: the larger, the likelier the type."""
    files = [directory / file for pair in learner.model_files.values() for file in pair]
    present = sum(file.is_file() for file in files)
    return present, present - len(files)


@cache
def _weight_names(agent_type: str) -> dict[str, set[str]]:
    """Names of the weights of each network; they do not depend on the sizes."""
    learner = Agent(agent_type=agent_type, training=False).learner
    networks = learner.networks(learner.policy_local)
    return {name: set(network.state_dict()) for name, network in networks.items()}
