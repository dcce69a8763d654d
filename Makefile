# Every target sets itself up: a machine with Python 3.11 (or 3.12), make and git is enough.
# The stamps in .venv make the installation run once, and again when pyproject or the pins change.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart install test test-slow test-worlds test-extras test-faults bench lint format check notebooks clean

# A pyenv shim may be on the path without a Python behind it, so the name is tried, not looked up.
PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
VENV := .venv
BIN = $(VENV)/bin
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
EXTRAS := .venv-extras/.installed
PINS := pyproject.toml constraints.txt
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

define CREATE_VENV
@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))" || \
	{ echo "Python 3.11 or 3.12 is needed, '$(PYTHON)' is not; try: make PYTHON=/path/to/python3.11"; exit 1; }
@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	{ echo "Creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV); }
endef

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(CORE): $(PINS)
	$(CREATE_VENV)
	@echo "Installing the core packages (once; a few minutes)"
	@$(PIP) -e .
	@touch $@

$(DEV): $(PINS)
	$(CREATE_VENV)
	@echo "Installing the core, brax, ray, test and notebook packages (once; a few minutes)"
	@$(PIP) -e '.[dev,notebooks,brax,ray]'
	@touch $(CORE) $@

# These bring much that nothing else needs (wandb, pylint), so they stay out of the usual environment.
test-extras $(EXTRAS): VENV := .venv-extras
$(EXTRAS): $(PINS)
	$(CREATE_VENV)
	@echo "Installing the extra environments and the test packages (once; a few minutes)"
	@$(PIP) -e '.[dev,craftax,jumanji,navix,pgx,xminigrid]'
	@touch $@

install: $(DEV) ## create .venv with everything that development needs

quickstart: $(CORE) ## search, compare with PPO, plot and export: one small run from start to end
	$(BIN)/discovery quickstart

test: $(DEV) ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(DEV) ## the tests that take minutes
	XLA_FLAGS= $(BIN)/python -m pytest -m slow

test-worlds: $(DEV) ## the contract of environments, over all but the extras (7 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m worlds tests/contracts tests/app

test-extras: $(EXTRAS) ## the tests of the extra environments, which it installs into an environment of its own
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m extras tests/environments

test-faults: $(DEV) ## searches on a cluster of two nodes that is broken in eight ways (15 minutes)
	XLA_FLAGS= $(BIN)/python -m pytest -m faults tests/executors

bench: $(DEV) ## the speed ratios of docs/performance.md
	$(BIN)/python -m benchmarks

lint: $(DEV) ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(DEV) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## all that a change must pass

notebooks: $(DEV) ## rewrite each notebook's .ipynb from its .py
	@for source in notebooks/*.py; do \
		$(BIN)/marimo --quiet export ipynb "$$source" --sort top-down --force -o "$${source%.py}.ipynb" || exit 1; \
	done

clean: ## remove the environments and all caches; runs/ stays
	rm -rf $(VENV) .venv-extras .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
