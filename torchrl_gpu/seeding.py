"""One seed for every global generator, so that a trial depends on nothing but its config."""

import random

import numpy as np
import torch

EVAL_SEED = 253
"""Seed of every evaluation world (training spec 2.3)."""

AGENT_SEED_OFFSET = 100
"""Seed of a trial's agent, less the trial seed (training spec 2.3)."""


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators; called once, before a trial builds anything.

    The legacy pipeline left NumPy's generator to the operating system (Defect T11). What a trial builds
    afterwards re-seeds some of the generators in the legacy order (training spec 6), hence not here.

    Args:
        seed: The trial seed, a non-negative integer; NumPy's generator takes it modulo 2**32.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
