"""The learners, the files that hold them, and the legacy loop."""
