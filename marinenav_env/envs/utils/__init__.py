"""One vessel and its sensors."""
