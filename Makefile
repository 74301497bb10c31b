# What a contributor or CI runs. `make` alone lists the targets.

PYTHON     ?= python3
UV_VERSION := 0.13.8
VENV       := .venv
BIN        := $(VENV)/bin
UV         := $(BIN)/uv
ARGS       ?=

# What the tests of the deployment run, as Debian names it. prometheus brings promtool.
PROGRAMS   := prometheus haproxy
# The clients in Node, and the oldest Node that they support.
CLIENTS    := tests/deploy/node
NODE_MAJOR := 20

# The environment is the one beside this file, whatever the caller has activated.
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

# Stamps make repeated calls instant; a changed lock file or project file renews them.
HAS_UV      := $(VENV)/.has-uv-$(UV_VERSION)
HAS_RUNTIME := $(VENV)/.has-runtime
HAS_DEV     := $(VENV)/.has-dev

.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-full test-deploy deps-deploy claude-code docs dashboards pictures examples bench-rewrite check lint types imports rules fix clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(HAS_RUNTIME) ## Create .venv from the lock file

demo: setup ## A whole migration on a simulated Messages API, in the terminal
	$(BIN)/gateway demo

run: setup ## Serve config/gateway.yaml
	$(BIN)/gateway serve --config config/gateway.yaml

test: $(HAS_DEV) ## The test suite (ARGS=... goes to pytest)
	$(BIN)/pytest -q -n 2 --dist loadfile $(ARGS)

test-full: $(HAS_DEV) ## The long tests only
	$(BIN)/pytest -q -n 2 --dist loadfile -m full $(ARGS)

test-deploy: $(HAS_DEV) ## What needs system programs: Prometheus, dashboards, load balancer, clients in Node
	$(BIN)/pytest -q -m deploy tests/deploy $(ARGS)

deps-deploy: ## Install what test-deploy runs (Debian, Ubuntu; root)
	@command -v apt-get >/dev/null || { echo "no apt-get here; install yourself: $(PROGRAMS) nodejs npm"; exit 1; } >&2
	@[ "$$(id -u)" = 0 ] || { echo "installing packages needs root: sudo make deps-deploy"; exit 1; } >&2
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PROGRAMS) \
	  $$(command -v npm >/dev/null || echo nodejs npm)
	@node -e 'process.exit(parseInt(process.versions.node) < $(NODE_MAJOR) ? 1 : 0)' || { \
	  echo "Node $$(node --version) is too old: the clients need $(NODE_MAJOR) or newer (https://nodejs.org/en/download)"; \
	  exit 1; } >&2
	npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund

claude-code: $(HAS_DEV) ## Claude Code at a gateway, without network; say what it sent (ARGS=--help)
	@$(BIN)/python -m tests.support.claude_code $(ARGS)

docs: setup ## Write docs/compatibility.md anew from the catalogue and the rules
	$(BIN)/gateway models matrix --config config/gateway.yaml > docs/compatibility.md.new
	mv docs/compatibility.md.new docs/compatibility.md

dashboards: $(HAS_DEV) ## Write deploy/grafana/dashboards/*.json anew from deploy/grafana/*.py
	$(BIN)/python -m deploy.grafana.build

pictures: $(HAS_DEV) ## Watch a migration for a quarter of an hour and draw docs/images anew
	$(BIN)/python -m tests.support.watched_story

examples: $(HAS_DEV) ## Run a demo migration for seven minutes and write docs/examples anew
	$(BIN)/python -m tests.support.examples

bench-rewrite: $(HAS_DEV) ## What rewriting costs, in time and memory (ARGS=--json)
	$(BIN)/python -m bench.rewrite $(ARGS)

check: lint types imports rules test ## Everything a change must pass

lint: $(HAS_DEV) ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(HAS_DEV) ## mypy, strict
	$(BIN)/mypy gateway tests/support deploy bench

imports: $(HAS_DEV) ## Layers, purity, cycles
	$(BIN)/lint-imports --no-logo

rules: $(HAS_DEV) ## House rules and docs
	$(BIN)/pytest -q tests/test_house_rules.py tests/test_docs.py

fix: $(HAS_DEV) ## Format, and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the environment and every cache
	rm -rf $(VENV) $(CLIENTS)/node_modules dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find gateway tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(HAS_UV):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)"; \
	  echo "or name one: make setup PYTHON=/path/to/python3"; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) --version) is too old: 3.11 or newer is needed (Debian, Ubuntu: apt install python3.11 python3.11-venv)"; \
	  echo "then: make setup PYTHON=python3.11"; exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$$($(PYTHON) --version) lacks venv. Install it (Debian, Ubuntu: apt install python3-venv) and run make setup again."; \
	  exit 1; } >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(HAS_RUNTIME): $(HAS_UV) uv.lock pyproject.toml
	$(UV) sync --quiet --frozen --no-dev --inexact
	@touch $@

$(HAS_DEV): $(HAS_RUNTIME)
	$(UV) sync --quiet --frozen --inexact
	@touch $@
