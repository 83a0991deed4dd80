# kpr-agent. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-dev demo check test faults golden bench schemas lock services-stop clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: $(VENV)/.installed  ## a virtual environment with the locked runtime packages, and kpr-agent in it

setup-dev: $(VENV)/.installed-dev  ## the same with the packages that tests and checks need

$(VENV)/.installed: requirements.lock pyproject.toml
	@.ci/prepare $(PYTHON) $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@.ci/prepare $(PYTHON) $(VENV) openssl=openssl systemd-analyze=systemd
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

demo: setup  ## install, then run the main job here for 30 seconds: EPJ, bus and register embedded
	$(BIN)/kpr-agent demo

check: setup-dev  ## format, lint, types, boundaries and the tests that need no server
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m "not server" tests/unit tests/golden

test: setup-dev  ## everything: checks, then every test with real servers, which it installs and starts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests

faults: setup-dev  ## the fault tests at length: 200 kill points
	KPR_KILL_POINTS=200 $(BIN)/python -m pytest tests/e2e tests/faults

golden: setup-dev  ## write the golden messages again; review the diff
	$(BIN)/python -m pytest -q tests/golden --rewrite-golden

schemas: setup-dev  ## write the JSON Schemas and the generated pages again
	$(BIN)/python -m agent.settings

bench: setup-dev  ## measure: see bench/README.md
	$(BIN)/python -m bench

lock: setup-dev  ## choose the newest packages and lock them, with hashes and no index addresses
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade \
		pyproject.toml --extra postgres -o requirements.lock
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade \
		pyproject.toml --extra postgres --extra dev -o requirements-dev.lock

services-stop: setup-dev  ## stop the servers that the tests started
	$(BIN)/python -m tests.services all stop

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
