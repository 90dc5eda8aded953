# Everything a developer or the CI runs. Each target sets up what it needs.
#
#   make setup        a virtual environment in .venv with the pinned versions of constraints.txt
#   make check        format, lint, types
#   make test         all tests; the counts come last
#   make services     the servers that tests use, on loopback, until Ctrl-C; installs what is missing
#   make test-nightly the tests of durability and of clusters, with 500 and 300 kills, 100,000 simulated clusters, and large models (hours)
#   make bench        the benchmarks; ARGS="--json" and so on are passed on
#   make bench-smoke  the same with few rows, only whether everything runs (minutes)
#   make demo         the main job on real flights; ARGS as above
#   make cluster      the same on three nodes of this machine, of which the leader is killed; gets etcd if it is missing
#   make docs         the documentation, into site/
#
# Another interpreter than the first suitable one on the path: make setup PYTHON=/path/to/python

MIN_PYTHON := 3.11
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < tuple(map(int, "$(MIN_PYTHON)".split("."))))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

.PHONY: setup check test services test-nightly bench bench-smoke demo cluster docs

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@'$(or $(PYTHON),python3)' -c '$(SUITABLE)' 2>/dev/null || { \
		echo "Streame needs Python $(MIN_PYTHON) or newer with its venv module" >&2; \
		echo "(on Debian and Ubuntu: apt install python3-venv)." >&2; \
		echo "Found: $$('$(or $(PYTHON),python3)' --version 2>&1 || true)." >&2; \
		echo "To name another one: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@echo "setting up .venv, a minute or two"
	'$(PYTHON)' -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest $(ARGS)

services: setup
	$(BIN)/python -m tests.services

test-nightly: setup
	STREAME_NIGHTLY=1 $(BIN)/python -m pytest tests/chaos tests/model tests/simulation tests/cluster/test_processes.py -s $(ARGS)

bench: setup
	@PATH="$$($(BIN)/python -m tests.services.install):$$PATH" $(BIN)/streame bench $(ARGS)

bench-smoke: setup
	@PATH="$$($(BIN)/python -m tests.services.install):$$PATH" $(BIN)/streame bench --smoke $(ARGS)

demo: setup
	$(BIN)/streame demo $(ARGS)

cluster: setup
	@etcd=$$($(BIN)/python -m tests.services.install) && PATH="$$etcd:$$PATH" $(BIN)/streame demo --cluster $(ARGS)

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
