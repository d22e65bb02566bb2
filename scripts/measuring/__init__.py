"""Measuring room: speeds and differences that `scripts/benchmark.py` and `scripts/gpu_check.py` print."""
