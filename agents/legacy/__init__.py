"""The legacy training loop and its memories, which nothing but its own command and the benchmarks imports."""
