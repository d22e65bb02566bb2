"""Folders, checkpoints, sweeps and interruptions of runs."""
