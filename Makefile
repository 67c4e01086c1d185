# `make run` opens the console, `make test` runs all checks. Both make their own virtual environment in .venv.
# `make parity` compares the converted models with transformers on torch, in an environment of its own.
PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
VLLM := .venv-vllm
BIN := $(VENV)/bin
# A machine with an NVIDIA driver also gets the CUDA library that CTranslate2 needs.
GPU := $(wildcard /proc/driver/nvidia/version /dev/dxg)
EXTRA := $(if $(GPU),[cuda],)
SOURCES := pyproject.toml
# CI sets RERUNS=1: there a test that fails is run once more and listed ("R"), so that a change does not hang on a busy
# machine. Each such rerun is a defect that the next change mends.
RERUNS ?= 0
PYTEST := -m pytest --reruns $(RERUNS) -r fER

.PHONY: run check test test-vllm parity lint types bench bench-convert bench-engines bench-gpu bench-parity pictures man clean

run: $(VENV)/.installed
	@$(BIN)/phitui $(ARGS)

# What needs no model, process or terminal: within three minutes.
check: $(VENV)/.installed-dev lint types
	$(BIN)/python -m pytest -m "not real" --numprocesses logical --maxprocesses 4

test: $(VENV)/.installed-dev lint types
	$(BIN)/python $(PYTEST) --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# The engine's contract over vLLM's own server (CPU build), which has an environment of its own.
test-vllm: $(VENV)/.installed-dev $(VLLM)/.installed
	PHITUI_VLLM_PYTHON=$(abspath $(VLLM)/bin/python) $(BIN)/python $(PYTEST) vllm_tests $(ARGS)

parity: $(PARITY)/.installed
	$(PARITY)/bin/python -m pytest parity $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/console.py
	$(BIN)/python benchmarks/streams.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/tuner.py
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/monitor.py
	$(BIN)/python benchmarks/bandwidth.py
	$(BIN)/python benchmarks/remote.py
	$(BIN)/python benchmarks/sessions.py
	$(BIN)/python benchmarks/several.py
	$(BIN)/python benchmarks/batch_console.py

# Makes a checkpoint of Phi-3 Mini's size first: 16 GB of disk, some minutes.
bench-convert: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/convert.py

# The local engine, llama.cpp's server and vLLM's on the same weights: makes docs/ENGINES.md; a quarter of an hour.
bench-engines: $(VENV)/.installed-dev $(VLLM)/.installed
	$(BIN)/python benchmarks/engines.py --vllm $(abspath $(VLLM)/bin/python) $(ARGS)

# All figures on a machine with an NVIDIA GPU: 4 GB of disk, 8 minutes. ARGS="--device cpu --small" tries it without one.
bench-gpu: $(VENV)/.installed $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py $(ARGS)

# The pictures of the documentation, of the real screens with the demo model: three minutes.
pictures: $(VENV)/.installed-dev
	$(BIN)/python docs/make_pictures.py $(ARGS)

# The man page, from the parser of the command line. The wheel has docs/phitui.1 as it was made last.
man: $(VENV)/.installed-dev
	$(BIN)/python docs/make_man.py

# As `make parity`, and keeps the figures.
bench-parity: $(PARITY)/.installed
	$(PARITY)/bin/python -m pytest parity --publish

$(BIN)/python $(PARITY)/bin/python $(VLLM)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("phitui needs Python 3.10 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 10) else None'
	@echo "making the virtual environment $(@D:/bin=)"
	@$(PYTHON) -m venv $(@D:/bin=) || { rm -rf $(@D:/bin=); echo "Python's venv module does not work: on Debian and Ubuntu install python3-venv" >&2; exit 1; }

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@echo "installing phitui and what it needs (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRA)'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# torch first, alone, so that nothing else chooses its version: 2 GB with CUDA's libraries where pip finds no CPU build.
$(PARITY)/.installed: $(PARITY)/bin/python $(SOURCES)
	@echo "installing torch and phitui for the comparison (once)"
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' \
		|| { echo "make parity needs torch 2.13.0, which pip could not install for $$($(PARITY)/bin/python -V): choose another with PYTHON=" >&2; exit 1; }
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,parity]'
	@touch $@

# Only what serving text on a CPU needs, each by its version: 0.4 GB to download.
$(VLLM)/.installed: $(VLLM)/bin/python vllm_tests/requirements.txt
	@echo "installing vLLM's CPU build for the tests (once)"
	@$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r vllm_tests/requirements.txt \
		|| { echo "make test-vllm needs vLLM's CPU build, which pip could not install for $$($(VLLM)/bin/python -V): choose another with PYTHON=" >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(VLLM) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
