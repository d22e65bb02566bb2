"""Reading and checking the single files of a model: every refusal is one line that names the file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class ModelFiles(NamedTuple):
    """Where a model folder keeps one network (agents spec 10)."""

    weights: str
    constructor_parameters: str


EXCEPTIONS = {
    "network": ModelFiles("network_params.pth", "constructor_params.json"),
    "actor": ModelFiles("actor_network_params.pth", "actor_constructor_params.json"),
    "critic": ModelFiles("critic_network_params.pth", "critic_constructor_params.json"),
}
"""Legacy names that do not follow the network's; a policy that is one network calls it "network"."""


def files_of(network: str) -> ModelFiles:
    """Files of a network by its name in the policy."""
    usual = ModelFiles(f"{network}_params.pth", f"{network}_constructor_params.json")
    return EXCEPTIONS.get(network, usual)


class ModelFileError(ValueError):
    """A model file or folder that is missing, malformed or of another kind: one line that begins with it."""

    def __init__(self, path: str | Path, reason: object) -> None:
        super().__init__(" ".join(f"{path}: {reason}".split()))


def read_constructor_parameters(path: Path) -> dict[str, Any]:
    """The JSON object of one network's constructor parameters; ModelFileError if the file holds none."""
    try:
        parameters = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelFileError(path, error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, f"not valid JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise ModelFileError(path, f"must hold a JSON object, holds a {type(parameters).__name__}")
    return parameters


def read_weights(path: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Read one network's ``state_dict``, with an unpickler that runs no code of the file.

    ModelFileError if it is unreadable, or holds anything but named floating-point tensors.
    """
    try:
        weights = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise ModelFileError(path, error.strerror) from error
    except Exception as error:  # torn and hostile files fail with errors of any kind, over many lines
        kind = type(error).__name__
        raise ModelFileError(
            path, f"cannot be read as weights ({kind}): torn, or no state_dict of torch.save"
        ) from error
    is_state_dict = isinstance(weights, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) and value.is_floating_point()
        for name, value in weights.items()
    )
    if not is_state_dict:
        raise ModelFileError(path, "must hold a dictionary of named floating-point tensors")
    return weights


def check_weights(network: nn.Module, weights: dict[str, Tensor], path: str | Path, label: str) -> None:
    """Refuse weights that are not those of a network, or not finite: ModelFileError with path and label."""
    expected = network.state_dict()
    if missing := expected.keys() - weights.keys():
        raise ModelFileError(path, f"not the weights of {label}: {', '.join(sorted(missing))} missing")
    if unknown := weights.keys() - expected.keys():
        raise ModelFileError(path, f"not the weights of {label}: {', '.join(sorted(unknown))} unknown")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            shape, needed = tuple(weights[name].shape), tuple(tensor.shape)
            raise ModelFileError(path, f"{name} has shape {shape}, this {label} needs {needed}")
    if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise ModelFileError(path, f"{', '.join(broken)} of this {label}: not all numbers are finite")


def check_parameters(network: nn.Module, parameters: dict[str, Any], path: Path, label: str) -> None:
    """Refuse constructor parameters of another network with a ModelFileError; only the seed may differ."""
    # As JSON gives them back: a range may have been built as a tuple.
    expected = json.loads(json.dumps(network.get_constructor_parameters()))
    if parameters.keys() != expected.keys():
        keys, needed = ", ".join(parameters), ", ".join(expected)
        raise ModelFileError(path, f"not the parameters of {label}: keys are {keys}; must be {needed}")
    if type(parameters["seed"]) is not int:
        raise ModelFileError(path, f"seed is {parameters['seed']!r}, must be an integer")
    for name, value in expected.items():
        if name != "seed" and parameters[name] != value:
            raise ModelFileError(path, f"{name} is {parameters[name]!r}, this {label} needs {value!r}")
