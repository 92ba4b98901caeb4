# `make demo` and `make test` need only python3 (3.11 to 3.13) with pip and venv.
PYTHON ?= python3
EXTRAS ?=
VENV := .venv
BIN := $(VENV)/bin
empty :=
space := $(empty) $(empty)
comma := ,
extras := $(subst $(space),$(comma),$(strip serve legacy $(subst $(comma),$(space),$(EXTRAS))))
# One stamp for each set of extras: asking for another set installs it, asking again costs nothing.
stamp := $(VENV)/.installed-$(subst $(comma),-,$(extras))

.PHONY: setup demo test lint types layers pytest clean

setup: $(stamp)

$(stamp): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"tfapp needs Python 3.11 to 3.13, found {v[0]}.{v[1]}: try make PYTHON=python3.12 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[$(extras)]'
	@touch $@

demo: setup
	@$(BIN)/python examples/demo.py

test: lint types layers pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

pytest: setup
	$(BIN)/pytest -n 2 $(PYTEST_ARGS)

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist site
