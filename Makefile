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
# The tests that run on other Pythons and with the lowest versions too.
QUICK := $(patsubst %,tests/core/test_%.py,checkpoint convolution data_npz layers losses model \
  optimizers schedules training) $(patsubst %,tests/pipeline/test_%.py,space records \
  configuration_compose smoke_sweep_end_to_end)
TOOLS := .venv-audit
MINUTES ?= 5
SAMPLE ?= 20
SEED ?= 1
WORKERS ?= 2
unexport PYTHONDONTWRITEBYTECODE  # with it, every process would compile its imports again

.PHONY: sweep test test-all test-pythons test-lowest lint types soak fuzz mutate coverage coverage-all \
  ui docs dvc lock audit sbom bench clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

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

test-pythons:  ## a quick part of the tests on each other Python that is here (3.12, 3.13, 3.14)
	.ci/pythons -n $(WORKERS) $(QUICK) $(ARGS)

# The environment is made anew: what an earlier one held would hide a floor that is too low.
test-lowest: $(TOOLS).stamp  ## the same tests with the lowest versions that pyproject.toml allows
	$(TOOLS)/bin/uv pip compile -q --resolution lowest-direct --no-header --no-annotate \
	  --python-version 3.11 pyproject.toml --extra test --extra export -o .venv-lowest.txt
	$(TOOLS)/bin/uv venv -q --clear --python $(PYTHON) .venv-lowest
	$(TOOLS)/bin/uv pip install -q --python .venv-lowest/bin/python -r .venv-lowest.txt
	.venv-lowest/bin/python -m pytest -n $(WORKERS) -m "not slow" -p no:cacheprovider $(QUICK) $(ARGS)

lint: $(VENV)/dev.stamp  ## style and the one-way import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy --strict on cnn_core and pipeline
	$(BIN)/mypy

soak: $(VENV)/dev.stamp  ## kill workers and the coordinator at random for MINUTES, from SEED
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

fuzz: $(VENV)/dev.stamp  ## every reader given bytes that nobody meant, for MINUTES
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

# A test that fails here passes in `make test`: some look at what a process imports, and it measures.
COVER = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-context=test --cov-report=
coverage: $(VENV)/dev.stamp  ## which lines and branches the quick tests run; `mutate` asks by it
	-$(COVER) -m "not slow"
	$(BIN)/python -m tests.coverage_page $(ARGS)

coverage-all: $(VENV)/dev.stamp  ## the same of the quick tests and the slow ones
	-$(COVER) -m "not slow"
	-$(COVER) -m slow --fail-on-skip --cov-append
	$(BIN)/python -m tests.coverage_page --slow $(ARGS)

mutate: $(VENV)/dev.stamp  ## small changes to the product: does a test notice? SAMPLE a room, from SEED
	$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED) $(ARGS)

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
	$(COMPILE) --group audit -o requirements/audit.lock

$(TOOLS).stamp: requirements/audit.lock
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check -q --no-compile \
	  --require-hashes -r requirements/audit.lock
	touch $@

# --strict: a package that the database does not know is a failure, not a pass.
audit: $(TOOLS).stamp  ## known vulnerabilities of all locked versions (asks the network)
	$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes \
	  -r requirements/dev.lock -r requirements/build.lock -r requirements/audit.lock $(ARGS)

sbom: $(TOOLS).stamp $(VENV)/run.stamp  ## dist/sbom.json: what .venv holds, as CycloneDX
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --of JSON -o dist/sbom.json $(VENV)

clean:  ## remove what the targets built; outputs/ stays
	rm -rf $(VENV) .venv-* dist site .pytest_cache .mypy_cache .ruff_cache
