"""The reference world: NumPy, one robot at a time, bit-exact."""
