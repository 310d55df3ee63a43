# Needs Python 3.11 or newer, make and git; all else goes into .venv. `make help` tells the rest.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
DATA ?= demo-data
ARGS ?=
UV := uv==0.13.9

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install dev run browser test check format bench lock clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

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

lock: $(VENV)/.dev  ## remake requirements/*.txt from pyproject.toml (UPGRADE=1: newest of everything)
	$(BIN)/python -m pip install --quiet "$(UV)"
	$(COMPILE) --output-file requirements/run.txt
	$(COMPILE) --extra test --extra dev --extra postgres --extra redis \
		--constraints requirements/run.txt --output-file requirements/dev.txt

clean:  ## remove .venv, caches and what tests wrote; keeps demo-data
	rm -rf $(VENV) ci-output .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The lock holds for every Python from 3.11 on and every system, so that one file serves all.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
	pyproject.toml requirements/build.in

$(VENV)/.run: requirements/run.txt pyproject.toml tools/install.sh
	@sh tools/install.sh run $(VENV)

$(VENV)/.dev: requirements/dev.txt requirements/run.txt pyproject.toml tools/install.sh
	@sh tools/install.sh dev $(VENV)
