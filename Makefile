# Needs Python 3.11 or newer, make and git; all else goes into .venv. `make help` tells the rest.

VENV := .venv
DETOXIFY := .venv-detoxify
BIN := $(VENV)/bin
PORT ?= 8000
DATA ?= demo-data
ARGS ?=
UV := uv==0.13.9

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install dev run browser test test-detoxify check format bench bench-moderation lock clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.run  ## make .venv with all that `peerchat demo` needs
	@echo "ready: $(BIN)/peerchat"

run: $(VENV)/.run  ## start a demo server with a made-up school (PORT=8000, DATA=demo-data)
	@mkdir -p $(DATA)
	$(BIN)/peerchat demo --port $(PORT) --data $(DATA) --credentials $(DATA)/credentials.json $(ARGS)

dev: $(VENV)/.dev  ## add what tests and checks need to .venv

browser: $(VENV)/.dev  ## find or install a Chromium for the browser tests
	@$(BIN)/python -m tools.browser

test: $(VENV)/.dev browser  ## run the tests (ARGS="-k pairing -x")
	$(BIN)/python -m pytest $(ARGS)

test-detoxify: $(DETOXIFY)/.detoxify  ## run the tests of Detoxify, with torch in a virtual environment of their own
	$(DETOXIFY)/bin/python -m pytest -o timeout=240 tests/detoxify $(ARGS)

check: $(VENV)/.dev  ## lint, formatting, types, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.check_docs

format: $(VENV)/.dev  ## put the code into its form and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## measure throughput and latency (ARGS=--help)
	$(BIN)/python -m benchmarks $(ARGS)

bench-moderation: $(VENV)/.bench  ## measure what moderation finds, on a data folder (DATA=folder, ARGS=--help)
	$(BIN)/python -m benchmarks.moderation --data $(DATA) $(ARGS)

lock: $(VENV)/.dev  ## remake requirements/*.txt from pyproject.toml (UPGRADE=1: newest of everything)
	$(BIN)/python -m pip install --quiet "$(UV)"
	$(COMPILE) --output-file requirements/run.txt
	$(COMPILE) --extra test --extra dev --extra postgres --extra redis \
		--constraints requirements/run.txt --output-file requirements/dev.txt
	$(COMPILE) --extra test --extra detoxify --no-emit-package torch --excludes requirements/cuda.in \
		--constraints requirements/dev.txt --output-file requirements/detoxify.txt
	$(COMPILE) --extra detoxify-onnx --constraints requirements/dev.txt --output-file requirements/detoxify-onnx.txt
	$(COMPILE) --extra bench --constraints requirements/dev.txt --output-file requirements/bench.txt

clean:  ## remove .venv, caches and what tests wrote; keeps demo-data
	rm -rf $(VENV) $(DETOXIFY) ci-output .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The lock holds for every Python from 3.11 on and every system, so that one file serves all.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
	pyproject.toml requirements/build.in

$(VENV)/.run: requirements/run.txt pyproject.toml tools/install.sh
	@sh tools/install.sh run $(VENV)

$(VENV)/.dev: requirements/dev.txt requirements/run.txt pyproject.toml tools/install.sh
	@sh tools/install.sh dev $(VENV)

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@sh tools/install.sh bench $(VENV)

$(DETOXIFY)/.detoxify: requirements/detoxify.txt requirements/torch.txt pyproject.toml tools/install.sh
	@sh tools/install.sh detoxify $(DETOXIFY)
