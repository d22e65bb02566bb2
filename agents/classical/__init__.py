"""Policies without learning, to compare with: potential fields and reciprocal velocity obstacles."""

from agents.classical.apf import APF
from agents.classical.orca import ORCA
from agents.classical.policy import ClassicalPolicy

__all__ = ["APF", "CLASSICAL", "ORCA", "ClassicalPolicy"]

CLASSICAL: dict[str, type[ClassicalPolicy]] = {policy.agent_type: policy for policy in (APF, ORCA)}
"""The classical policies by their name."""
