"""Traced networks of vehicles turned back into agents (agents spec 11).

A file ``traced_<TYPE>_model.pt`` holds the network that chooses the actions, in float64, for one observation
``(x1 (1, 7), x2 (1, 5, 5), mask (1, 5))``, all float64; `exported` writes it. What it computes is the
learner's to say (`Learner.planner`):

| TYPE | call | result |
|---|---|---|
| deterministic actors | ``model((x1, x2, mask))`` | action (1, 2) in (-1, 1) |
| ``SAC`` | ``model((x1, x2, mask))`` | mean (1, 2), log standard deviation (1, 2), clamped; not squashed |
| action values | ``model((x1, x2, mask))`` | action values (1, 25) |
| ``Rainbow`` | ``model((x1, x2, mask))`` | probabilities (1, 25, 51) of the mean weights |
| ``IQN`` | ``model((x1, x2, mask), taus (1, 32))`` | quantiles (1, 32, 25) |
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agents.agent import Agent
from agents.learners import LEARNERS
from agents.models.archive import read_parameters
from agents.models.files import ModelFileError, check_weights


def traced_name(agent_type: str, dtype: torch.dtype = torch.float64) -> str:
    """File name, ``traced_AC_IQN_model.pt`` as released models are called; another precision is named."""
    precision = "" if dtype == torch.float64 else f"_{str(dtype).removeprefix('torch.')}"
    return f"traced_{agent_type.replace('-', '_')}_model{precision}.pt"


class _PlannerModule(nn.Module):
    """The layers of a network under their own names, and the call of the planner as ``forward``."""

    def __init__(self, network: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        for name, layer in network.named_children():
            self.add_module(name, layer)
        # A plain closure, so that the network is not registered and its parameter names get no prefix.
        self.__dict__["_call"] = lambda *inputs: call(*inputs)

    def forward(self, *inputs: Any) -> Any:
        return self._call(*inputs)


def planner_module(network: nn.Module, call: Callable[..., Any]) -> nn.Module:
    """A network as the module that is traced, whose parameters a file names as the network does."""
    return _PlannerModule(network, call).eval()  # traced files hold the name of this class


def agent_from_traced(
    path: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    agent_type: str | None = None,
    trust: bool = False,
) -> Agent:
    """Build an agent around the parameters of a traced file, which is read as data unless that fails.

    The file holds the acting network only; critics of the agent stay as they were initialised.

    Args:
        path: a TorchScript file.
        device: where the networks live.
        dtype: precision of the agent.
        agent_type: a key of `LEARNERS`; told by the file's name or its parameters unless given.
        trust: whether a file that cannot be read as data may be loaded by `torch.jit.load`, which can run
            code of the file.

    Raises:
        ModelFileError: it is no TorchScript file, or its parameters fit no agent type, another one than asked
            for, or several (AC-IQN, DDPG and TD3 have equal actors).
    """
    weights = _read_traced(path, trust)
    precisions = torch.float64, torch.float32
    named = [name for name in LEARNERS if path.name in (traced_name(name, each) for each in precisions)]
    types = [agent_type] if agent_type else named or list(LEARNERS)
    agents, problem = [], None
    for each in types:
        try:
            agents.append(_agent_with(weights, path, each, device, dtype))
        except ModelFileError as error:
            problem = error
    if len(agents) == 1:
        return agents[0]
    if len(types) == 1:
        raise problem
    fitting = [agent.agent_type for agent in agents]
    if not fitting:
        raise ModelFileError(path, f"not the parameters of any of {', '.join(types)}")
    raise ModelFileError(
        path,
        f"fits {', '.join(fitting[:-1])} and {fitting[-1]} alike: say which one it is (agent_type, "
        f"--agent-type), or name it like {traced_name(fitting[0])}",
    )


def _agent_with(
    weights: dict[str, Tensor], path: Path, agent_type: str, device: str | torch.device, dtype: torch.dtype
) -> Agent:
    """Build an agent of one type around the weights, or raise ModelFileError if they are not its own."""
    try:
        sizes, keys = _sizes(weights), LEARNERS[agent_type].keys_in(weights)
        settings = LEARNERS[agent_type].Settings(**keys)
        agent = Agent(agent_type=agent_type, settings=settings, device=device, training=False, **sizes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise ModelFileError(
            path, f"not the weights of {agent_type}: no sizes can be read from them"
        ) from error
    check_weights(agent.learner.acting_network, weights, path, agent_type)
    agent.learner.to_dtype(dtype)
    agent.learner.acting_network.load_state_dict(weights)
    return agent


def _sizes(weights: dict[str, Tensor]) -> dict[str, int]:
    """Network sizes, by the names of `Agent`'s arguments, from the shapes (out, in) of the first layers."""
    own, objects = weights["self_encoder.0.weight"].shape, weights["object_encoder.0.weight"].shape
    hidden_name = "hidden_layer.weight" if "hidden_layer.weight" in weights else "hidden_layer_v.weight_mu"
    hidden, concat = weights[hidden_name].shape
    return {
        "self_dimension": own[1],
        "object_dimension": objects[1],
        "max_object_num": (concat - own[0]) // objects[0],
        "self_feature_dimension": own[0],
        "object_feature_dimension": objects[0],
        "concat_feature_dimension": concat,
        "hidden_dimension": hidden,
    }


def _read_traced(path: Path, trust: bool) -> dict[str, Tensor]:
    """Parameters and buffers by name; the tensors of the root module, without a dot, are its constants."""
    try:
        tensors = read_parameters(path)
    except ModelFileError:
        if not (trust and path.is_file()):
            raise
        tensors = _execute(path)
    return {name: tensor for name, tensor in tensors.items() if "." in name}


def _execute(path: Path) -> dict[str, Tensor]:
    """Parameters of a file by loading it, which compiles its code and may run it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError as error:
        raise ModelFileError(path, f"torch.jit.load cannot load it: {error}") from error
