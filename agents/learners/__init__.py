"""The learners, one a file: whatever module lies here is imported, and registers the learner it defines."""

import importlib
import pkgutil

from agents.learners.base import LEARNERS

__all__ = ["LEARNERS"]

for module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(module.name)
