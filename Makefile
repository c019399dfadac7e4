# Two commands matter: `make run` and `make test`. Both set the environment up first, once.

EXTRA ?= cpu
LOCK := requirements/$(EXTRA).txt
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(EXTRA)
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Where the CPU build of torch comes from when the configured package index does not have it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PYTEST_ARGS ?=
# Processes that run the tests, each file in one of them; the suite is measured on two cores.
TEST_WORKERS ?= 2

# Bytecode halves the import time of vLLM, so a machine's habit of not writing it is overruled.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup run test check format lock ui clean infra-env infra-check

help: ## list the targets
	@awk -F ":.*## " "/^[a-z-]+:.*## /{printf \"  make %-11s %s\\n\", \$$1, \$$2}" Makefile

setup: $(STAMP) ## create .venv from the lock (EXTRA=gpu for CUDA)

run: setup ## set up, then run the whole pipeline at nano scale
	@$(BIN)/simpleseg run

test: setup ## set up, then run the whole test suite (PYTEST_ARGS="-k rle" for a part)
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: setup ## formatting, lint, strict types, who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

ui: setup ## serve the Prefect and MLflow pages on this machine
	@$(BIN)/simpleseg ui

clean: ## remove the environment and the tools' caches; data and runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

infra-env: ## make infra/.env with passwords for infra/compose.yaml
	@infra/make-env.sh

# Schemas of Compose, of CI and of Kubernetes: 95 MB that nothing else needs, so only this target installs them.
INFRA_SCHEMAS := check-jsonschema==0.39.0 kubernetes-validate==1.37.0 importlib-resources==7.1.0 regress==2026.9.1
infra-check: setup ## check everything in infra/ against its schema, and run its tests
	@$(PIP) install -qq --no-deps $(INFRA_SCHEMAS)
	@$(BIN)/python -m pytest -q tests/infra

# Everything is pinned, so pip resolves nothing (--no-deps): it knows no overrides (docs/decisions/0002).
$(STAMP): $(LOCK) pyproject.toml
	@python=$$(for python in "$(PYTHON)" python3.11 python3 python; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$python" && break; \
	done); \
	test -n "$$python" || { echo "Python 3.11 was not found: install it, or say where: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	if test -n "$$(ls $(VENV)/.installed-* 2>/dev/null)" && ! test -e $(STAMP); then clear=--clear; fi; \
	"$$python" -m venv $$clear $(VENV)
	@echo "Installing $$(grep -c == $(LOCK)) packages into $(VENV) (3.5 GB, a few minutes, once) ..."
	@$(if $(filter cpu,$(EXTRA)),$(PIP) install -qq --no-deps $$(grep '^torch==' $(LOCK)) 2>/dev/null || { \
	    echo "No CPU build of torch in the configured index: asking $(TORCH_INDEX) ..."; \
	    $(PIP) install -qq --no-deps --index-url $(TORCH_INDEX) $$(grep -E '^torch(vision)?==' $(LOCK)); })
	@$(PIP) install -qq --no-deps -r $(LOCK)
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

# uv reads none of pip's configuration, so the place of the CPU build of torch is handed on to it.
FIND_TORCH = $(or $(shell $(PIP) config get :env:.find-links 2>/dev/null || $(PIP) config get global.find-links 2>/dev/null),$(TORCH_INDEX)/torch/)
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --no-header --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
    $(addprefix --extra ,ingest annotate train serve dev) --override requirements/overrides.txt $(if $(UPGRADE),--upgrade)

# What the images of infra/docker add is pinned beside the rest, never against it.
COMPILE_SERVER = $(BIN)/uv pip compile pyproject.toml --quiet --no-header --python-version 3.11 \
    --python-platform x86_64-unknown-linux-gnu --override requirements/overrides.txt --constraint requirements/cpu.txt \
    --find-links $(FIND_TORCH)

lock: setup ## pin what pyproject.toml asks for (UPGRADE=1 to move every pin)
	$(COMPILE) --extra cpu --override requirements/overrides-cpu.txt --find-links $(FIND_TORCH) --output-file requirements/cpu.txt
	$(COMPILE) --extra gpu --output-file requirements/gpu.txt
	$(COMPILE_SERVER) --extra server --extra serve --output-file requirements/server.txt
