# Two commands do everything on a fresh machine: `make train` and `make test`.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
LOWEST ?= .venv-lowest
# What the tests use of the extras in setup.py; `make test EXTRAS=` does without, and skips their tests.
EXTRAS ?= export faces ray sb3 tensorboard

.PHONY: train test test-lowest test-ray extras lint docs benchmark clean

train: $(INSTALLED)
	$(VENV)/bin/marinenav quickstart

# Two processes, a file of tests at a time: half the time on two cores, each test on one thread. Tests that fork
# come first, in processes of their own: a library that others load may leave threads that a fork does not survive.
define suite
$(1) -m pytest -n 2 --dist loadfile -m "forks and not slow"
$(1) -m pytest -n 2 --dist loadfile -m "not (forks or slow or benchmark)"
endef

test: $(INSTALLED) extras
	$(call suite,$(PY))

# The whole suite on the lowest version of every package that setup.py allows, in an environment of its own.
test-lowest: $(LOWEST)/.installed
	$(call suite,$(LOWEST)/bin/python)

# Sweeps and searches on a Ray cluster of this machine, with whatever is killed meanwhile: some minutes.
test-ray: $(VENV)/.extra-ray
	$(PY) -m pytest tests/e2e/test_ray.py -m slow

# One by one, as not each has wheels for every Python: without one its tests are skipped, the others run.
extras: $(EXTRAS:%=$(VENV)/.extra-%)

$(VENV)/.extra-%: $(INSTALLED)
	$(PY) -m pip install --quiet --editable ".[$*]" && touch $@ || echo "without $*: its tests are skipped"

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
