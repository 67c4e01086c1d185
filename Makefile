# `make run` opens the console, `make test` runs all checks. Both make their own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A machine with an NVIDIA driver also gets the CUDA library that CTranslate2 needs.
GPU := $(wildcard /proc/driver/nvidia/version /dev/dxg)
EXTRA := $(if $(GPU),[cuda],)
SOURCES := pyproject.toml

.PHONY: run test lint types bench bench-convert clean

run: $(VENV)/.installed
	@$(BIN)/phitui $(ARGS)

test: $(VENV)/.installed-dev lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/console.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/tuner.py
	$(BIN)/python benchmarks/bandwidth.py

# Makes a checkpoint of Phi-3 Mini's size first: 16 GB of disk, some minutes.
bench-convert: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/convert.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("phitui needs Python 3.10 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 10) else None'
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module does not work: on Debian and Ubuntu install python3-venv" >&2; exit 1; }

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@echo "installing phitui and what it needs (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRA)'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
