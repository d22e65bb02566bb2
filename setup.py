"""Package metadata; tool settings live in ``pyproject.toml``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """Read the one version string of the project without importing it."""
    source = (ROOT / "torchrl_gpu" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE).group(1)


setup(
    name="marinenav",
    version=version(),
    description="GPU-scale reinforcement learning for fleets of autonomous surface vessels, on TorchRL",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(
        include=["marinenav_env*", "agents*", "torchrl_gpu*", "scripts*", "config*", "models*"]
    ),
    package_data={
        "config": ["*.json"],
        "models": ["*/*"],
        "marinenav_env": ["envs/reference/imazu.json"],
        "torchrl_gpu": ["README.md", "settings/schema.json"],
        "scripts.drawing": ["*.html"],
    },
    install_requires=[
        "torch>=2.11",
        "torchrl>=0.14,<0.15",
        "tensordict>=0.14",
        "numpy>=1.26",
        "scipy>=1.11",
        "matplotlib>=3.8",
        "tqdm>=4.66",
        "pydantic>=2.12",
        "psutil>=5.9",
        "typing_extensions>=4.6",
    ],
    extras_require={
        "dev": ["pytest>=8", "pytest-benchmark>=4", "pytest-xdist>=3.6", "ruff>=0.15"],
        "docs": ["mkdocs-material>=9.5,<10"],
        "export": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],
        "faces": ["gymnasium>=1.1", "pettingzoo>=1.24"],
        "sb3": ["stable-baselines3>=2.9", "supersuit>=3.11"],
        "tensorboard": ["tensorboard"],
        "wandb": ["wandb"],
        "ray": ["ray[tune]"],
    },
    entry_points={
        "console_scripts": [
            "marinenav=scripts.marinenav:run",
            "marinenav-train=torchrl_gpu.train_torchrl_gpu:run",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
