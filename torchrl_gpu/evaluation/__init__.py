"""Evaluations, one by one or side by side, and their record."""
