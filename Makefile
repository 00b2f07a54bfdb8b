# make demo | test | slow | check | coverage | figures | docs | bench | prove — everything is installed into .venv as it is needed.
PYTHON ?= python3.11
PART ?=
BIN := .venv/bin
# Compiling every file of every package, most of them never imported, would take minutes and 400 MB.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
# Two processes of one thread each finish sooner than one process of two threads.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest

# Tests and worker processes start hundreds of interpreters: each would compile all that it imports anew, for four seconds.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: demo test slow check lint coverage figures docs bench prove clean

demo: .venv/encoders.stamp
	$(BIN)/superpose demo --out demo-results

test: .venv/core.stamp
	$(PYTEST) -n 2 -m 'not slow and not prove' --doctest-modules src tests

# What takes minutes: convergence, coverage over many data sets, the demo's encoders end to end.
slow: .venv/encoders.stamp
	$(PYTEST) -n 2 -m 'slow and not prove' tests

# One run of all tests: two would load everything twice, and end with one process waiting for the other twice.
check: .venv/encoders.stamp .venv/docs.stamp
	$(MAKE) --output-sync=target -j 2 lint docs
	$(PYTEST) -n 2 --dist worksteal -m 'not prove' --doctest-modules src tests

coverage: .venv/encoders.stamp
	$(PYTEST) -n 2 -m 'not slow and not prove' --cov=superpose --cov-branch --cov-report=term:skip-covered --cov-fail-under=90 tests

lint: .venv/core.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation shows what this wrote with SCALE=paper.
SCALE ?= laptop
FIGURES = $(shell $(BIN)/python -c 'from superpose.paper import FIGURES; print(*FIGURES)')
figures: .venv/encoders.stamp
	set -e; for figure in $(FIGURES); do $(BIN)/superpose reproduce $$figure --scale $(SCALE) --out figures; done

docs: .venv/docs.stamp
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: .venv/core.stamp
	set -e; for script in $(sort $(wildcard benchmarks/*.py)); do $(BIN)/python $$script; done

prove: .venv/encoders.stamp
	$(PYTEST) -n 2 -rP -m prove $(if $(PART),-k '$(PART)') tests

clean:
	rm -rf .venv docs/_build docs/api/generated demo-results

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[demo,dev]' -c constraints.txt
	@touch $@

.venv/encoders.stamp: demo-requirements.txt .venv/core.stamp
	$(PIP) --no-deps --require-hashes -r demo-requirements.txt
	@touch $@

.venv/docs.stamp: pyproject.toml constraints.txt | .venv/core.stamp
	$(PIP) -e '.[docs]' -c constraints.txt
	@touch $@
