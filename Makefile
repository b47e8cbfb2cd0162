# Two commands need nothing but Python (3.11 or newer), pip and make: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test nightly lint format clean

demo: $(INSTALLED)
	$(BIN)/residuum reproduce degradation

test: $(INSTALLED)
	$(BIN)/python -m pytest

nightly: $(INSTALLED)
	RESIDUUM_MUTANTS=10000 RESIDUUM_KILLS=200 HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest --timeout 7200

lint: $(INSTALLED)
	$(BIN)/ruff format --check src tests results benchmarks
	$(BIN)/ruff check src tests results benchmarks
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format src tests results benchmarks
	$(BIN)/ruff check --fix src tests results benchmarks

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
