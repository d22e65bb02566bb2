"""Shared by all tests: one thread, golden folder, markers that skip themselves."""

from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"


def pytest_configure(config: pytest.Config) -> None:
    # Two shared cores: intra-operation threads fight each other, and one thread keeps results comparable.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):  # not its keywords: a folder of that name is one of them
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the numbers recorded from the legacy code."""
    return GOLDEN
