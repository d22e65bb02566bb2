"""The whole state of a `MarineNavTorchRLEnv` as tensors and plain data, for checkpoints."""

from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from marinenav_env.envs.reference.snapshot import restore, snapshot
from marinenav_env.envs.torchrl_gpu.env import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.numpy_worlds import NumpyBackend
from marinenav_env.envs.torchrl_gpu.torch_backend import TorchBackend
from marinenav_env.envs.torchrl_gpu.world import VectorWorld

ROWS = ("self_state", "objects_state", "objects_mask", "active", "outcome")
"""Arrays that the NumPy backend keeps between calls."""


class EnvState:
    """Reads and writes the state of an environment that has been reset.

    A restored environment goes on draw for draw; the observations of its present step are not part of it
    with the NumPy backend, as looking twice would draw twice. Whoever acts keeps them.

    Args:
        env: Of the same construction when it is saved and restored.
    """

    def __init__(self, env: MarineNavTorchRLEnv) -> None:
        self.env = env

    def state_dict(self) -> dict[str, Any]:
        """The state, not copied."""
        backend = self.env.backend
        return _numpy_state(backend) if isinstance(backend, NumpyBackend) else _torch_state(backend)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`.

        Raises:
            ValueError: it is of another number of environments or another shape.
            KeyError: a part is missing.
        """
        backend = self.env.backend
        load = _load_numpy_state if isinstance(backend, NumpyBackend) else _load_torch_state
        load(backend, state)


def _numpy_state(backend: NumpyBackend) -> dict[str, Any]:
    rows = {name: getattr(backend, name) for name in ROWS}
    return {"worlds": [snapshot(world) for world in backend.worlds], "rows": rows}


def _load_numpy_state(backend: NumpyBackend, state: dict[str, Any]) -> None:
    for world, each in zip(backend.worlds, state["worlds"], strict=True):
        restore(world, each)
    for name in ROWS:
        getattr(backend, name)[...] = state["rows"][name]


def _torch_state(backend: TorchBackend) -> dict[str, Any]:
    world = backend.world
    return {
        "outcome": backend._outcome,
        "total_timesteps": world.total_timesteps,
        "pinned": world._pinned,
        "stage_index": world._stage_index,
        "noise": (world._keys._seed, world._keys._counter),
        "generator": world._generator.get_state(),
        "now": tree_flatten((world.state, world.observation))[0],
        "pool": tree_flatten(world._pool.beginnings)[0],
        "pool_use": world._pool.state_dict(),
    }


def _load_torch_state(backend: TorchBackend, state: dict[str, Any]) -> None:
    world = backend.world
    world.total_timesteps, world._pinned = state["total_timesteps"], state["pinned"]
    world.reset()  # for the structure of the state; what it draws is replaced below
    world._stage_index = state["stage_index"]
    world._pool = world._new_pool()
    _load_draws(world, state)
    world.state, world.observation = _like((world.state, world.observation), state["now"])
    backend._outcome = state["outcome"]


def _load_draws(world: VectorWorld, state: dict[str, Any]) -> None:
    pool = world._pool
    pool.beginnings = _like(pool.beginnings, state["pool"])
    pool.load_state_dict(state["pool_use"])
    world._keys._seed, world._keys._counter = state["noise"]
    world._generator.set_state(state["generator"].cpu())


def _like(tree: Any, leaves: list[torch.Tensor]) -> Any:
    """A tree of the structure of another, made of leaves of the same shapes."""
    expected, structure = tree_flatten(tree)
    if [leaf.shape for leaf in expected] != [leaf.shape for leaf in leaves]:
        raise ValueError("the tensors of the world have other shapes than those of this environment")
    return tree_unflatten(leaves, structure)
