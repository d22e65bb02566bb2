"""Import paths of the legacy code."""
