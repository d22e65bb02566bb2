"""Updates, and when they happen."""
