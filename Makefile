# Everything needs python3 >= 3.11 and make only: `setup` makes .venv and installs what the rest needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test test-all lint format bench clean

help:
	@echo "make demo      watch the whole thing work on an embedded world (about three minutes)"
	@echo "make test      run the tests (minutes)"
	@echo "make test-all  run the tests, the slow ones too"
	@echo "make lint      style, types and import layers"
	@echo "make format    put the code into the house format"
	@echo "make bench     measure against TRL"
	@echo "make setup     make $(VENV) and install everything into it"

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("preftune needs Python 3.11 or newer, and this is " + sys.version.split()[0] + ". Say which to use: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	@touch $(STAMP)

demo: setup
	$(BIN)/preftune demo --output demo --overwrite

test: setup
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
