# Everything a newcomer needs: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := src tests

.PHONY: demo test test-slow lint bench clean

demo: .venv/installed
	$(BIN)/scherzer demo --out demo

test: .venv/installed lint
	$(BIN)/pytest -m "not slow"

test-slow: .venv/installed
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@find src tests -name '*.py' -exec wc -l {} + | awk '$$2 != "total" && $$1 > 400 {print $$2 " has " $$1 " lines, at most 400 are allowed"; bad = 1} END {exit bad}'

bench: .venv/installed
	@for name in simulate realism micrographs particles maps maps_abinitio; do $(BIN)/python benchmarks/$$name.py || exit 1; done

# The constraint keeps pip from a torch that brings gigabytes of GPU libraries.
.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv: a few minutes, once"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
