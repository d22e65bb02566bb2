"""Measuring the two pipelines side by side."""
