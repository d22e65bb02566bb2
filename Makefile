# Two commands do everything on a fresh machine: `make train` and `make test`.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
LOWEST ?= .venv-lowest

.PHONY: train test test-lowest lint docs benchmark clean

train: $(INSTALLED)
	$(VENV)/bin/marinenav quickstart

# Two processes, a file of tests at a time: half the time on two cores, each test on one thread.
test: $(INSTALLED)
	$(PY) -m pytest -n 2 --dist loadfile

# The whole suite on the lowest version of every package that setup.py allows, in an environment of its own.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# Without the variable Material for MkDocs prints a notice about its successor.
docs: $(INSTALLED)
	$(PY) -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

benchmark: $(INSTALLED)
	$(PY) -m pytest tests/benchmarks -m benchmark

$(INSTALLED): setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --editable ".[dev]"
	touch $@

$(LOWEST)/.installed: setup.py
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/python -m uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) build dist site *.egg-info
