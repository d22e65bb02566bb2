"""Where a run or a benchmark was made: hardware, its load, and versions."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from agents.processor import of_processor
from marinenav_env.files import write_text
from torchrl_gpu import __version__

FILE = "surroundings.json"
"""File in a trial's folder with hardware and versions, written anew at each start."""

PACKAGES = ("torch", "torchrl", "tensordict", "numpy", "matplotlib")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Hardware and its load."""
    cuda = torch.device(device).type == "cuda"
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "system": platform.platform(),
    }


def cpu_model() -> str:
    """Name of the processor."""
    return of_processor("model name") or platform.machine()


def versions() -> dict[str, str]:
    """This project, Python, and the packages that numbers may depend on."""
    found = {"marinenav": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def note(folder: Path, device: str) -> None:
    """Write what a trial runs on into its folder."""
    found = {"machine": machine(device), "versions": versions()}
    write_text(folder / FILE, json.dumps(found, indent=1))
