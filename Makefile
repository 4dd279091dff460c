# `make demo` and `make test` work on a fresh machine with Python 3.11, make and git; uv is fetched into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= gpu# or cpu
# uv draws bars on a terminal; elsewhere it would list every package.
QUIET := $(shell test -t 2 || echo --quiet)
READY := .venv/.ready

.PHONY: help setup demo test test-slow fuzz lint format bench lock clean

help: ## show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## create .venv with the pinned dependencies; TORCH=cpu: without those for GPUs

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 13); \
	  sys.exit(0 if ok else "raycolor needs Python 3.11 or 3.12: name one, for example `make PYTHON=python3.11 setup`")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "no venv module: on Debian run \`apt install python3-venv\`, then try again" >&2; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
ifeq ($(TORCH),cpu)
	@echo "setup: fetching the pinned packages, PyTorch's builds for CPUs among them, into .venv"
	$(BIN)/uv pip install $(QUIET) --python $(BIN)/python --torch-backend cpu --constraint requirements.lock --group dev --editable .
else
	@echo "setup: fetching the pinned packages into .venv: 7 GB on disk, of which PyTorch for GPUs is 4"
	$(BIN)/uv pip install $(QUIET) --python $(BIN)/python --require-hashes --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
endif
	@$(BIN)/raycolor --version
	@echo "setup: ready; \`source .venv/bin/activate\` for the raycolor command"
	@touch $(READY)

# So small a job needs no Ray. The first time it takes one all the same: that shows that Ray works on this machine.
demo: $(READY) ## colorize the shipped sample, the first time on a local Ray; results in demo-output/
	@rm -rf demo-output
	$(BIN)/raycolor colorize docs/sample demo-output $(if $(wildcard .venv/.ray-tried),,--ray)
	@touch .venv/.ray-tried

test: $(READY) ## the fast tests
	$(BIN)/pytest -q

test-slow: $(READY) ## kills, faults, big files, whole clusters
	$(BIN)/pytest -q -m slow

fuzz: $(READY) ## 20,000 mutated files: no crash, no hang, no memory, no foreign exception; at most 15 minutes
	$(BIN)/python tests/fuzz.py --files 20000 --minutes 15

lint: $(READY) ## ruff, mypy and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY) ## let ruff write the layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## every benchmark; JSON in benchmarks/results/
	$(BIN)/python benchmarks/run.py

COMPILE = $(BIN)/uv pip compile --quiet --universal pyproject.toml --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock'

lock: $(READY) ## pin again after a change of pyproject.toml; for workers without the tools of development
	$(COMPILE) --group dev -o requirements.lock
	$(COMPILE) --constraint requirements.lock -o requirements-worker.lock

clean: ## remove what was made, but for .venv
	rm -rf demo-output benchmarks/results .pytest_cache .mypy_cache .ruff_cache
