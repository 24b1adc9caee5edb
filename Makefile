# The commands of this project. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sidecar/version.py)
# Where the project lives, from the one place that says it: [project.urls].
SOURCE = $(shell sed -n 's/^Source = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types architecture coverage schema screenshots fuzz mutation soak bench instructions sbom image image-arguments image-check dist version home rehome manifests workflows lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## make .venv from the hash-pinned requirements; does nothing when that is up to date

$(STAMP): requirements/dev.txt requirements/run.txt pyproject.toml sidecar/version.py
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; try: make PYTHON=python3.12 setup" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## serve the sidecar in front of an embedded Mangopay emulator
	$(BIN)/mangopay-sidecar demo

# The tests start some hundred processes: without bytecode each would compile the sidecar again.
test coverage: export PYTHONDONTWRITEBYTECODE =
# tests/conftest.py says how many workers.
SUITE := pytest --numprocesses auto --dist worksteal
test: setup ## run the whole test suite, on every core
	$(BIN)/python -m $(SUITE)

check: lint types architecture coverage ## every gate: ruff, mypy, import-linter, coverage

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

architecture: setup
	$(BIN)/lint-imports

# Measured, the suite would take twice as long, and what is left out here reaches hardly a line that this does not.
MEASURED := tests/unit tests/flow $(wildcard tests/wire/test_*.py) $(wildcard tests/e2e/test_cli_*.py)
# A rule of core is tested by the files that are named after its module: test_target_routes.py is one of core/target.py.
CORE := $(basename $(notdir $(wildcard sidecar/core/*.py)))
coverage: setup ## most of the suite, measured, and the gates: all of core by its own tests, 96% of everything
	$(BIN)/coverage erase
	$(BIN)/python -m coverage run --source=sidecar/core -m $(SUITE) --quiet $(foreach module,$(CORE),$(wildcard tests/unit/test_$(module)*.py))
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='sidecar/core/*' --fail-under=100
	$(BIN)/coverage erase
	$(BIN)/python -m coverage run -m $(SUITE) --quiet $(MEASURED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

schema: setup ## write docs/status.schema.json anew
	$(BIN)/python -m tests.support.status_schema

screenshots: setup ## write the README's pictures anew; needs a Chromium
	SIDECAR_README_SCREENSHOTS=1 $(BIN)/python -m pytest --quiet tests/browser/test_readme_images.py

SECONDS_OF_FUZZING ?= 60
fuzz: setup ## look for inputs that break the rules of targets and headers (SECONDS_OF_FUZZING=60)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS_OF_FUZZING)

# One module takes half a minute, all of them half an hour.
mutation: setup ## plant small faults and demand that a test fails (MODULE=sidecar/core/resend.py; default: all rules)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/mutation.txt
	$(BIN)/python -m tests.mutation.run $(MODULE)

MINUTES_OF_SOAK ?= 10
soak: setup ## steady load with aborts; fails if memory or descriptors grow (MINUTES_OF_SOAK=10)
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES_OF_SOAK)

bench: setup ## the sidecar beside other proxies, in an hour (ARGUMENTS=--quick: ten minutes; ARGUMENTS=--help)
	$(BIN)/python -m benchmarks.compare $(ARGUMENTS)

instructions: setup ## hold the instructions of a call to the baseline; needs valgrind (ARGUMENTS=--write | --where)
	$(BIN)/python -m benchmarks.instructions $(ARGUMENTS)

SBOM ?= build/mangopay-sidecar.cdx.json
sbom: build/sbom/.complete ## write the bill of materials (CycloneDX) of what runs: build/mangopay-sidecar.cdx.json
	@sed 's/^dynamic = \["version"\]/version = "$(VERSION)"/' pyproject.toml >build/sbom/pyproject.toml
	PYTHONWARNINGS=ignore build/sbom/bin/cyclonedx-py requirements requirements/run.txt --pyproject build/sbom/pyproject.toml \
	  --mc-type application --spec-version 1.6 --output-format JSON --output-reproducible --validate --output-file $(SBOM)

build/sbom/.complete: requirements/sbom.txt
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

DOCKER ?= docker
IMAGE ?= mangopay-sidecar
# What the image's labels say, for whoever builds it.
REVISION = $(shell git rev-parse HEAD)
CREATED = $(shell git show --no-patch --format=%cI HEAD)
IMAGE_ARGUMENTS = VERSION=$(VERSION) REVISION=$(REVISION) CREATED=$(CREATED) SOURCE=$(SOURCE)
image: ## build the container image, with its labels (DOCKER=docker IMAGE=mangopay-sidecar)
	$(DOCKER) build --tag $(IMAGE):$(VERSION) --tag $(IMAGE):latest $(addprefix --build-arg ,$(IMAGE_ARGUMENTS)) .

image-arguments: # as lines NAME=value
	@printf '%s\n' $(IMAGE_ARGUMENTS)

version:
	@echo $(VERSION)

home:
	@echo $(SOURCE)

dist: setup ## build sdist and wheel into build/dist
	rm -rf build/dist build/lib build/bdist.* && mkdir -p build/dist
	SOURCE_DATE_EPOCH=$$(git show --no-patch --format=%ct HEAD) $(BIN)/python -c 'from setuptools import build_meta; print(build_meta.build_sdist("build/dist"), build_meta.build_wheel("build/dist"))' | tail -n 1
	@rm -rf build/lib build/bdist.*

# Pages are found at PAGES/docs/…: in alerts, and on PyPI.
PAGES = $(shell sed -n 's|^Documentation = "\(.*\)/docs"|\1|p' pyproject.toml)
rehome: ## put the project's address where it stands (HOME_URL=https://github.com/you/mangopay-sidecar)
	test -n "$(HOME_URL)"
	sed -i -e 's|"$(PAGES)/|"$(HOME_URL)/blob/main/|' -e 's|^Source = .*|Source = "$(HOME_URL)"|' pyproject.toml
	sed -i 's|$(PAGES)/|$(HOME_URL)/blob/main/|' deploy/prometheus/alerts.yaml deploy/prometheus/prometheusrule.yaml

# Checkers of what deploy/ and .github/ hold, in an environment of their own: 300 MB, made once.
build/gates/.complete: requirements/gates.txt
	$(PYTHON) -m venv build/gates
	build/gates/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

manifests: setup build/gates/.complete ## build every manifest and chart into build/manifests, and check them (checkov)
	$(BIN)/python -m tests.deploy.manifests build/manifests
	build/gates/bin/checkov --directory build/manifests --config-file deploy/.checkov.yaml

workflows: build/gates/.complete ## check .github/ (actionlint, zizmor)
	build/gates/bin/actionlint
	build/gates/bin/zizmor --offline --quiet --persona=pedantic .github

image-check: setup ## build the image and run it hardened, with Debian's buildah, runc and debootstrap (as root)
	$(BIN)/python -m tests.deploy.built_image

lock: ## pin the requirements again (needs uv on the PATH)
	cd requirements && for set in run build dev fuzz mutation sbom kubectl gates bench-envoy bench-fastapi bench-mitmproxy; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' $$set.in -o $$set.txt || exit 1; done

clean: ## remove .venv and what tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* .bench build *.egg-info
