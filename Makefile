# Every command of the project; `make help` explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
# uv is the installer; it is fetched once into its own small environment where the machine has none.
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
# The container images' shares of requirements.lock: the same versions, fewer of them.
COMPILE = $(UV) pip compile --quiet pyproject.toml --constraint requirements.lock --generate-hashes --no-emit-index-url --python-version 3.11 --no-annotate
# Nothing that is installed may speak to the outside on its own.
export YOLO_OFFLINE := true
export YOLO_AUTOINSTALL := false
# Compiled modules are kept: every worker and command starts seconds sooner.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup people lock demo up test lint unit integration golden-test golden test-crafted test-kill test-compose kill-short soak coverage reference bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/ready ## Make .venv with the pinned dependencies, and fetch the models that come in wheels

.venv/ready: requirements.lock pyproject.toml
	@command -v $(UV) >/dev/null || { python3 -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv; }
	@test -x $(PY) || $(UV) venv --quiet .venv
	$(UV) pip sync --quiet --python $(PY) --compile-bytecode --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	.venv/bin/tryon weights fetch
	@PATH="$(CURDIR)/.venv-uv/bin:$$PATH" $(PY) -m worker.lab.demo.photographs || echo "WARNING: the golden tests skip without these photographs (they fail in CI)." >&2
	@touch $@

people: setup ## Fetch the MIT-licensed photographs of people that the golden tests use
	PATH="$(CURDIR)/.venv-uv/bin:$$PATH" $(PY) -m worker.lab.demo.photographs

lock: ## Pin the newest dependencies, with hashes and without host names
	$(UV) pip compile --quiet pyproject.toml --all-extras --generate-hashes --no-emit-index-url --python-version 3.11 --upgrade --output-file requirements.lock
	$(COMPILE) --output-file requirements-producer.lock
	$(COMPILE) --extra api --extra otel --output-file requirements-api.lock
	$(COMPILE) --extra pictures --extra monitor --extra otel --output-file requirements-cpu.lock
	$(COMPILE) --extra worker --extra otel --output-file requirements-gpu.lock

demo: setup ## Put a garment on a real photograph, through the same queue and workers that production runs
	.venv/bin/tryon demo

up: setup ## Start everything embedded; Ctrl-C stops all of it
	.venv/bin/tryon up

test: lint unit golden-test integration kill-short ## Lint, unit, golden, integration tests, short kill suite

lint: setup ## Style, types, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: setup ## Fast tests without servers
	$(PY) -m pytest tests/unit -m "not full"

test-crafted: setup ## Decode 50,000 mutated image files: each is read or refused by name
	$(PY) -m pytest tests/unit/test_crafted_files.py -m full

golden-test: setup ## Compare whole pictures and the outputs of every stage with the stored ones
	$(PY) -m pytest tests/golden

golden: setup ## Store the pictures and stage outputs that the code makes now, after looking at them
	$(PY) -m tests.golden.update

integration: setup ## Tests against real PostgreSQL, Valkey and S3
	$(PY) -m pytest tests/integration -m "not full"

test-compose: setup ## Start every service of docker-compose.yml as a process, and run a job through all of them
	$(PY) -m pytest tests/integration/test_compose.py -m full

kill-short: setup ## A few kills of real worker processes, and a short soak
	$(PY) -m pytest tests/kill tests/soak -m "not full"

test-kill: setup ## Kill workers, the broker's memory and the database at every point of a job
	$(PY) -m pytest tests/kill

soak: setup ## 2000 jobs in 10 minutes of kills and outages; prints what became of them
	$(PY) -m tests.soak --jobs 2000 --minutes 10 --seed 0 --json

coverage: setup ## Line coverage of the unit, golden and integration tests
	$(PY) -m pytest tests/unit tests/golden tests/integration -m "not full" --cov=config --cov=db --cov=tasks --cov=worker --cov-report=term:skip-covered

reference: setup ## Write docs/reference.md from the code
	$(PY) -m worker.lab.reference > docs/reference.md

bench: setup ## Measure the embedded stack
	.venv/bin/tryon bench

clean: ## Remove the environment and the embedded servers' data
	rm -rf .venv .venv-uv .tryon
