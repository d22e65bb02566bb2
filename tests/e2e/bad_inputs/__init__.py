"""A table of bad inputs to every command; `python -m tests.e2e.bad_inputs` writes `docs/bad_inputs.md`."""
