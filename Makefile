# Every target builds what it needs first. PYTHON names the interpreter that makes the environment (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without compiling: pip would compile all 11,000 files, an import compiles the third of them it needs.
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q --no-compile
ARGS ?=
MINUTES ?= 5
SEED ?= 1
WORKERS ?= 2
unexport PYTHONDONTWRITEBYTECODE  # with it, every process would compile its imports again

.PHONY: sweep test test-all lint types soak ui docs dvc lock bench clean help

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

sweep: $(VENV)/run.stamp  ## 20 trials on the embedded digits; ARGS="experiment=mnist" and the like choose another sweep
	$(BIN)/python -m pipeline.sweep $(ARGS)

test: $(VENV)/dev.stamp lint types  ## lint, types and every test but the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(ARGS)

test-all: $(VENV)/dev.stamp  ## the slow tests: faults, browser, cluster, installed wheel; a skip fails
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow --fail-on-skip $(ARGS)

lint: $(VENV)/dev.stamp  ## style and the one-way import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy --strict on cnn_core and pipeline
	$(BIN)/mypy

soak: $(VENV)/dev.stamp  ## kill workers and the coordinator at random for MINUTES, from SEED
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

ui: $(VENV)/run.stamp  ## the MLflow UI on 127.0.0.1, on the store of `root` (ARGS="root=...")
	$(BIN)/python -m pipeline.ui $(ARGS)

docs: $(VENV)/dev.stamp  ## the documentation as a site, every internal link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # not with --quiet: it hides broken links from --strict

dvc: $(VENV)/dev.stamp  ## rebuild the whole chain of dvc.yaml on the embedded digits
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro $(ARGS)

bench:  ## the training benchmark against PyTorch, in an environment of its own
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements/run.lock
	.venv-bench/bin/python -m pip install --disable-pip-version-check -q torch==2.13.0
	.venv-bench/bin/python -m benchmarks.training $(ARGS)

lock:  ## resolve the lock files again (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 -o requirements/run.lock
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	  --extra test --extra export --extra cluster --extra dashboard --extra browser --extra dvc --extra docs --extra cmaes -c requirements/run.lock -o requirements/dev.lock
	echo 'hatchling>=1.27' | uv pip compile - --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 -c requirements/dev.lock -o requirements/build.lock

clean:  ## remove what the targets built; outputs/ stays
	rm -rf $(VENV) .venv-bench dist site .pytest_cache .mypy_cache .ruff_cache
