"""Command-line tools around the two pipelines."""
