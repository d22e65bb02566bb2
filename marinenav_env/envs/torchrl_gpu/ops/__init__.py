"""The mathematics of the tensor world; each file is the twin of one in `reference`."""
