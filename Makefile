# Two commands do everything on a fresh machine: `make train` and `make test`.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: train test lint docs benchmark clean

train: $(INSTALLED)
	$(PY) -m torchrl_gpu.train_torchrl_gpu -C config/quickstart.json -D cpu

# Two processes, a file of tests at a time: half the time on two cores, each test on one thread.
test: $(INSTALLED)
	$(PY) -m pytest -n 2 --dist loadfile

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

clean:
	rm -rf $(VENV) build dist site *.egg-info
