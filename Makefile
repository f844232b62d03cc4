# Every target builds what it needs first.
# PYTHON names the interpreter that makes the environment (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without compiling: pip would compile all 11,000 files, imports compile the third that they need.
PIP = $(BIN)/python -m pip install --disable-pip-version-check -q --no-compile
COMPILE := uv pip compile --universal --generate-hashes --no-emit-index-url --no-header \
  --no-annotate --python-version 3.11
EXTRAS := test export cluster dashboard browser dvc docs cmaes
ARGS ?=
MINUTES ?= 5
SEED ?= 1
WORKERS ?= 2
unexport PYTHONDONTWRITEBYTECODE  # with it, every process would compile its imports again

.PHONY: sweep test test-all lint types soak fuzz ui docs dvc lock bench clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/run.stamp: requirements/run.lock requirements/build.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/run.lock -r requirements/build.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.lock
	$(PIP) --require-hashes -r requirements/dev.lock
	touch $@

sweep: $(VENV)/run.stamp  ## 20 trials on the embedded digits; ARGS="experiment=mnist" for others
	$(BIN)/python -m pipeline.sweep $(ARGS)

test: $(VENV)/dev.stamp lint types  ## lint, types and every test but the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(ARGS)

test-all: $(VENV)/dev.stamp  ## the slow tests: faults, browser, cluster, the wheel; a skip fails
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow --fail-on-skip $(ARGS)

lint: $(VENV)/dev.stamp  ## style and the one-way import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy --strict on cnn_core and pipeline
	$(BIN)/mypy

soak: $(VENV)/dev.stamp  ## kill workers and the coordinator at random for MINUTES, from SEED
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

fuzz: $(VENV)/dev.stamp  ## every reader given bytes that nobody meant, for MINUTES
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

ui: $(VENV)/run.stamp  ## the MLflow UI on 127.0.0.1, on the store of `root` (ARGS="root=...")
	$(BIN)/python -m pipeline.ui $(ARGS)

# not with --quiet: it hides broken links from --strict
docs: $(VENV)/dev.stamp  ## the documentation as a site, every internal link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dvc: $(VENV)/dev.stamp  ## rebuild the whole chain of dvc.yaml on the embedded digits
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro $(ARGS)

bench: BIN := .venv-bench/bin
bench:  ## the training benchmark against PyTorch, in an environment of its own
	test -x $(BIN)/python || $(PYTHON) -m venv .venv-bench
	$(PIP) --require-hashes -r requirements/run.lock
	$(PIP) torch==2.13.0
	$(BIN)/python -m benchmarks.training $(ARGS)

lock:  ## resolve the lock files again (needs uv)
	$(COMPILE) pyproject.toml -o requirements/run.lock
	$(COMPILE) pyproject.toml $(EXTRAS:%=--extra %) -c requirements/run.lock -o requirements/dev.lock
	echo 'hatchling>=1.27' | $(COMPILE) - -c requirements/dev.lock -o requirements/build.lock

clean:  ## remove what the targets built; outputs/ stays
	rm -rf $(VENV) .venv-bench dist site .pytest_cache .mypy_cache .ruff_cache
