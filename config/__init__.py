"""Experiment configurations shipped with the package."""
