# One entry for set-up, running and checking. `make` alone explains itself.

PYTHON ?= python3
ARGS ?=

# One export per line: old makes take only the first name of several.
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1
export UV_PROJECT_ENVIRONMENT := .venv

# pip leaves uv here, outside .venv, so that `uv sync` neither needs the venv module nor removes itself.
UV := .uv/bin/uv
BIN := .venv/bin
STAMP := .venv/.set-up
ROOMS := app broker order proof sandbox shared strategy

.DEFAULT_GOAL := help
.PHONY: help setup run test check lint types imports format bench prove clean lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv (needs Python >= 3.11 and pip)

# Warm starts stop here: make compares three dates and calls nothing.
$(STAMP): pyproject.toml uv.lock | $(UV)
	@python="$$(sh .ci/python $(PYTHON))" || exit 2; $(UV) sync --frozen --python "$$python"
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q $(ROOMS)
	@touch $@

$(UV): .uv-bootstrap.txt
	@python="$$(sh .ci/python $(PYTHON))" || exit 2; \
	"$$python" -m pip --version >/dev/null 2>&1 || \
		{ echo "pip is missing for $$python. Install it (Debian: apt-get install python3-pip)." >&2; exit 2; }; \
	"$$python" -m pip install --quiet --upgrade --root-user-action ignore --require-hashes --only-binary :all: \
		--target .uv --requirement .uv-bootstrap.txt
	@touch $@

run: setup ## Run the whole system; ARGS="--for 20" is passed on
	@$(BIN)/trading run $(ARGS)

test: setup ## Run the tests; ARGS="-k store" is passed on
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types imports test ## Lint, types, import rule, tests

lint: setup ## Check style and formatting rules
	@$(BIN)/ruff check .

types: setup ## Check types, strictly
	@$(BIN)/mypy

imports: setup ## Check which room imports which
	@$(BIN)/lint-imports --no-cache

format: setup ## Mend what lint can mend by itself
	@$(BIN)/ruff check --fix .

bench: setup ## Measure the project beside its floor
	@$(BIN)/trading bench $(ARGS)

lock: $(UV) ## Resolve dependencies anew, write uv.lock and requirements.txt
	@$(UV) lock --upgrade
	@$(UV) export --frozen --no-dev --no-hashes --no-annotate --quiet --output-file requirements.txt

prove: setup ## Kill, wipe and break everything, then count (some 5 minutes)
	@$(BIN)/trading prove $(ARGS)

clean: ## Remove what set-up, tests and checks made (keeps ./var, the state of runs)
	@rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
