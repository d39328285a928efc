# Everything needs python3 >= 3.11 and make only: `setup` makes .venv and installs what the rest needs, in the exact
# versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LATEST := .venv-latest
SECONDS ?= 1200
PACKAGE := '.[dev,bench]'
REFUSE_OLD_PYTHON := import sys; sys.exit("preftune needs Python 3.11 or newer, and this is " + sys.version.split()[0] + ". Say which to use: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None

.PHONY: help setup demo test test-all test-latest campaign lock lint format bench clean

help:
	@echo "make demo      watch the whole thing work on an embedded world (about three minutes)"
	@echo "make test      run the tests (minutes)"
	@echo "make test-all  run the tests, the slow ones too"
	@echo "make test-latest  run the tests with the newest releases that pyproject.toml allows, in $(LATEST)"
	@echo "make campaign  kill, damage and mislead whole commands at random (20 minutes; SECONDS=180, SEED=1, TRIAL=kills/7)"
	@echo "make lock      write constraints.txt anew from the newest releases that pyproject.toml allows"
	@echo "make lint      style, types, import layers, declared dependencies, docstrings"
	@echo "make format    put the code into the house format, and write settings/keywords.py anew"
	@echo "make bench     measure against TRL"
	@echo "make setup     make $(VENV) and install everything into it"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(REFUSE_OLD_PYTHON)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable $(PACKAGE)
	@touch $(STAMP)

demo: setup
	$(BIN)/preftune demo --output demo --overwrite

test: setup
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: setup
	$(BIN)/python -m pytest -n 2

# A deprecation in a release that is newer than constraints.txt must not fail anyone's fresh install.
test-latest:
	@$(PYTHON) -c '$(REFUSE_OLD_PYTHON)'
	rm -rf $(LATEST) && $(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --upgrade pip
	$(LATEST)/bin/python -m pip install --quiet --editable $(PACKAGE)
	$(LATEST)/bin/python -m pytest -n 2 -m 'not slow' -W ignore::DeprecationWarning -W ignore::FutureWarning

campaign: setup
	$(BIN)/python -m tests.campaign --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(TRIAL),--trial $(TRIAL))

# The local part of a version (+cpu) goes: the index decides which build a machine gets.
lock:
	@$(PYTHON) -c '$(REFUSE_OLD_PYTHON)'
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/python -m pip install --quiet $(PACKAGE)
	(echo "# Exact versions that make setup installs. Made by make lock."; \
	 build/lock/bin/python -m pip freeze | grep -v -e preftune -e '^nvidia' -e '^triton' -e '^cuda' | sed 's/+.*//') > constraints.txt
	rm -rf build/lock

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry --no-ansi src tests benchmarks studies examples
	$(BIN)/python .ci/docstrings.py src studies benchmarks examples

format: setup
	$(BIN)/python .ci/keywords.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(LATEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
