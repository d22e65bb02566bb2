"""One seed for every global generator, so that a trial depends on nothing but its config."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

EVAL_SEED = 253
"""Seed of every evaluation world (training spec 2.3)."""

AGENT_SEED_OFFSET = 100
"""Seed of a trial's agent, less the trial seed (training spec 2.3)."""

UNIFORM_MEMORY_SEED = 249
"""What the legacy uniform memory seeds Python's generator with when it is built (Quirk A2)."""


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's (modulo 2**32) and torch's global generators, before a trial builds anything."""
    # The legacy pipeline left NumPy's to the operating system (Defect T11). What a trial builds afterwards
    # re-seeds some of them in the legacy order (training spec 6), hence not here.
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_of_rank(seed: int, rank: int) -> int:
    """Seed of one of several processes that train together: that of the trial for the first.

    The others' come from a hash, so that they are those of no other trial of a sweep over seeds.
    """
    return seed if rank == 0 else int(np.random.SeedSequence((seed, rank)).generate_state(1)[0])


class Generators:
    """State of the global generators that a trial draws from: Python's, NumPy's, torch's and its device's.

    Other GPUs of the machine are nobody's business.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)

    def state_dict(self) -> dict[str, Any]:
        """The states, as tensors and plain data."""
        name, keys, *rest = np.random.get_state()
        state = {
            "python": random.getstate(),
            "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
            "torch": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["device"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, on whichever GPU it was made."""
        random.setstate(state["python"])
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device"].cpu(), self.device)


class OwnGenerators:
    """The global generators as one of several trials in a process left them; they begin as they are now.

    The other trials draw in between. NumPy's generator object is exchanged; the states of Python's, torch's
    and the device's are saved and restored, without waiting for the device. Afterwards see `kept_numpy`.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._numpy = np.random.MT19937()
        self._numpy.state = np.random.get_state(legacy=False)
        self._python = random.getstate()
        self._torch = self._torch_states()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block they are the global ones."""
        random.setstate(self._python)
        np.random.set_bit_generator(self._numpy)
        with self.of_torch():
            yield
        self._python = random.getstate()

    @contextmanager
    def of_torch(self) -> Iterator[None]:
        """Within the block torch's are the global ones: quicker, where nobody draws from others."""
        cpu, device = self._torch
        torch.set_rng_state(cpu)
        if device is not None:
            torch.cuda.set_rng_state(device, self.device)
        yield
        self._torch = self._torch_states()

    def _torch_states(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        on_gpu = self.device.type == "cuda"
        return torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if on_gpu else None


@contextmanager
def kept_numpy() -> Iterator[None]:
    """Within the block NumPy's global generator may be exchanged; afterwards it is the one of before."""
    before = np.random.get_bit_generator()
    try:
        yield
    finally:
        np.random.set_bit_generator(before)


@contextmanager
def kept_generators(device: torch.device | str) -> Iterator[None]:
    """Let the block seed and draw; afterwards the global generators are as they were."""
    generators = Generators(device)
    before = generators.state_dict()
    try:
        yield
    finally:
        generators.load_state_dict(before)


def reseed_as_uniform_memory() -> None:
    """Seed Python's generator as the legacy agent does, whatever the trial's seed is (Quirk A2)."""
    random.seed(UNIFORM_MEMORY_SEED)


@contextmanager
def separate_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from `seed` on CPU and device, and go on afterwards as if nothing had been drawn."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
