"""The networks of a learner in a model folder, out and in.

A model folder holds, for each local network, a ``state_dict`` written by ``torch.save`` and a JSON object of
constructor parameters, in files named after the network (agents spec 10). Target networks, optimisers and
memories are not in it (Defect T23): training can start from a folder, but not resume.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from agents.learners import LEARNERS
from agents.learners.base import Learner
from agents.models.files import (
    ModelFileError,
    ModelFiles,
    check_parameters,
    check_weights,
    files_of,
    read_constructor_parameters,
    read_weights,
)
from marinenav_env.files import replacing


def save_model(learner: Learner, directory: str | Path) -> None:
    """Write the local networks of a learner as a legacy model folder, which must exist.

    All files are written aside before the first of them takes its place.
    """
    directory = Path(directory)
    with ExitStack() as files:
        for name, network in learner.networks(learner.policy_local).items():
            paths = files_of(name)
            weights = network.state_dict()
            weights.update({key: each.clone() for key, each in weights.items()})  # no view into others'
            torch.save(weights, files.enter_context(replacing(directory / paths.weights)))
            parameters = files.enter_context(replacing(directory / paths.constructor_parameters, "w"))
            json.dump(network.get_constructor_parameters(), parameters)


def load_model(learner: Learner, directory: str | Path, device: str | torch.device = "cpu") -> None:
    """Load a legacy model folder into the networks of a learner of its type and sizes, local and target.

    The parameters are overwritten in place, so that the optimisers go on with them, and the target starts as
    their copy. The legacy loader put new networks in place of the local ones, and a run started from a model
    never learned (Defects A12, T10). No random generator is touched. `device` is where the weights are read
    to, on their way to the networks' own device.

    Raises:
        ModelFileError: a file is missing or malformed, or holds other networks; nothing changed.
    """
    directory = Path(directory)
    try:
        contents = _read_folder(learner, directory, device)
    except ModelFileError as problem:
        found = folder_agent_type(directory)
        if found == learner.name:
            raise
        path = directory / acting_files(found).weights
        raise ModelFileError(path, f"belongs to a model of type {found}, not {learner.name}") from problem
    for policy in (learner.policy_local, learner.policy_target):
        for name, network in learner.networks(policy).items():
            weights, network.seed_id = contents[name]
            network.load_state_dict(weights)


def _read_folder(
    learner: Learner, directory: Path, device: str | torch.device
) -> dict[str, tuple[dict[str, Tensor], int]]:
    contents = {}
    for name, network in learner.networks(learner.policy_local).items():
        files = files_of(name)
        label = learner.name if name == "network" else f"{learner.name} {name}"
        weights = read_weights(directory / files.weights, device)
        check_weights(network, weights, directory / files.weights, label)
        parameters = read_constructor_parameters(directory / files.constructor_parameters)
        check_parameters(network, parameters, directory / files.constructor_parameters, label)
        contents[name] = weights, parameters["seed"]
    return contents


def acting_files(agent_type: str) -> ModelFiles:
    """Files of the network that chooses actions."""
    return files_of(LEARNERS[agent_type].network_names[0])


def folder_agent_type(directory: Path) -> str:
    """The agent type of a model folder, from its file names and the names of its weights.

    ModelFileError if it is no model folder, incomplete, or of none of the known types.
    """
    best = max(LEARNERS.values(), key=lambda learner: _files_present(learner, directory)).network_names
    if not any((directory / file).is_file() for name in best for file in files_of(name)):
        raise ModelFileError(directory, "not a model folder: it has none of the files of a model")
    candidates = [name for name, each in LEARNERS.items() if each.network_names == best]
    found = {name: read_weights(directory / files_of(name).weights).keys() for name in best}
    fitting = [agent_type for agent_type in candidates if _weight_names(agent_type) == found]
    if fitting:
        return _trained_type(directory, fitting) or fitting[0]
    path = directory / files_of(best[0]).weights
    raise ModelFileError(path, f"not the weights of {' or '.join(candidates)}")


def _trained_type(directory: Path, fitting: Sequence[str]) -> str | None:
    """Which of several learners a trial's own folder, or that above its ``best/``, says that it trained."""
    directory = directory.resolve()
    for folder in (directory, directory.parent)[: 2 if directory.name == "best" else 1]:
        try:
            told = json.loads((folder / "trial_config.json").read_text(encoding="utf-8"))["agent_type"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if told in fitting:
            return told
    return None


def _files_present(learner: type[Learner], directory: Path) -> tuple[int, int]:
    """Files of a type that a folder has, and minus those it lacks: the larger, the likelier the type."""
    files = [directory / file for name in learner.network_names for file in files_of(name)]
    present = sum(file.is_file() for file in files)
    return present, present - len(files)


@cache
def _weight_names(agent_type: str) -> dict[str, set[str]]:
    learner = LEARNERS[agent_type](LEARNERS[agent_type].Settings(), training=False)
    networks = learner.networks(learner.policy_local)
    return {name: set(network.state_dict()) for name, network in networks.items()}
