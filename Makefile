# The commands of this project. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# .venv is filled in layers, each once: what the command runs with, what the tests need, and all the rest.
RUN := $(VENV)/.run
TEST := $(VENV)/.test
ALL := $(VENV)/.all
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
packages = $(shell grep -cE '^[a-z0-9].*==' $(1)) packages
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sidecar/version.py)
# Where the project lives, from the one place that says it: [project.urls].
SOURCE = $(shell sed -n 's/^Source = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types architecture coverage coverage-of-everything compiled schema screenshots fuzz mutation pythons soak deliveries bench instructions sbom image image-arguments image-check dist version bump home rehome manifests workflows docs lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(ALL) ## fill .venv with all that tests and gates need, hash-pinned; does nothing when that is up to date

$(RUN): requirements/run.txt requirements/build.txt pyproject.toml sidecar/version.py
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; try: make PYTHON=python3.12 setup" if sys.version_info < (3, 11) else 0)'
	@echo 'Installing what the sidecar runs with into $(VENV) (once, $(call packages,requirements/run.txt)) …' >&2
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BYTECODE)
	@touch $@

$(TEST): $(RUN) requirements/test.txt
	@echo 'Installing what the tests need (once, $(call packages,requirements/test.txt)) …' >&2
	@$(INSTALL) --require-hashes -r requirements/test.txt
	@$(BYTECODE)
	@touch $@

$(ALL): $(TEST) requirements/dev.txt
	@echo 'Installing what the gates and the tests of deployment, browser and SDKs need (once, $(call packages,requirements/dev.txt)) …' >&2
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(BYTECODE)
	@touch $@

# An editable install compiles nothing, and a quarter of a start would be compiling our own source each time, where
# PYTHONDONTWRITEBYTECODE is set. Bytecode that is there is read whatever that variable says.
BYTECODE = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q sidecar

demo: $(RUN) ## serve the sidecar in front of an embedded Mangopay emulator
	@$(BYTECODE)
	@$(BIN)/mangopay-sidecar demo

# The tests start some hundred processes: without bytecode each would compile the sidecar again.
test coverage coverage-of-everything compiled: export PYTHONDONTWRITEBYTECODE =
# tests/conftest.py says how many workers.
SUITE := pytest --numprocesses auto --dist worksteal
test: $(TEST) ## run the whole test suite, on every core; what `make setup` has not installed is skipped, and told
	$(BIN)/python -m $(SUITE)

check: lint types architecture coverage ## every gate: ruff, mypy, import-linter, coverage

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell setup.py compiling sidecar tests benchmarks docs deploy *.md
	$(BIN)/python -m compiling.traps

types: setup
	$(BIN)/mypy

architecture: setup
	$(BIN)/lint-imports

# What a search by chance happens to reach is no test of core's: its state machines are left out.
coverage: setup ## core's own tests, measured, and the gate: they reach every branch of it
	$(BIN)/coverage erase
	$(BIN)/python -m coverage run --source=sidecar/core -m $(SUITE) --quiet tests/unit/core --ignore-glob='*_machine.py'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='sidecar/core/*' --fail-under=100

# Measured, the suite would take twice as long, and what is left out here reaches hardly a line that this does not.
MEASURED := tests/unit tests/flow $(wildcard tests/wire/test_*.py) $(wildcard tests/e2e/test_cli_*.py)
coverage-of-everything: setup ## most of the suite, measured: 96% of everything (minutes)
	$(BIN)/coverage erase
	$(BIN)/python -m coverage run -m $(SUITE) --quiet $(MEASURED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The compiled build in an environment of its own, with the tests that the source as it is has to pass as well. They find
# the installed package, not the one in this directory: it is at the end of the path, and tests/conftest.py looks.
COMPILED := build/compiled
COMPILED_TESTS := tests/unit tests/flow tests/wire tests/fuzz $(addprefix tests/e2e/test_,chaos.py cli_run.py cli_usage.py drain.py)
$(COMPILED)/.packages: requirements/test.txt requirements/compile.txt
	rm -rf $(COMPILED)
	$(PYTHON) -m venv $(COMPILED)
	$(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
	  -r requirements/test.txt -r requirements/compile.txt
	@$(COMPILED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >$@
	@echo '$(CURDIR)' >"$$(cat $@)/checkout.pth"

# CI is not set there: what the layer of the tests leaves out is left out on purpose.
compiled: $(COMPILED)/.packages ## compile the hot modules (SIDECAR_COMPILE=1), and run most tests against native code
	rm -rf $(COMPILED)/dist
	SIDECAR_COMPILE=1 $(COMPILED)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir $(COMPILED)/dist .
	@test -z "$$(find sidecar compiling -name '*.so')" || { echo 'native code lies beside its source' >&2; exit 1; }
	$(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(COMPILED)/dist/*.whl
	env -u CI PYTHONSAFEPATH=1 EXPECT_COMPILED=1 $(COMPILED)/bin/python -m $(SUITE) --import-mode=append $(COMPILED_TESTS)

schema: setup ## write docs/status.schema.json anew
	$(BIN)/python -m tests.support.status_schema

screenshots: setup ## write the README's pictures anew; needs a Chromium
	SIDECAR_README_SCREENSHOTS=1 $(BIN)/python -m pytest --quiet tests/browser/test_readme_images.py

SECONDS_OF_FUZZING ?= 60
fuzz: setup ## look for inputs that break the rules of targets and headers (SECONDS_OF_FUZZING=60)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS_OF_FUZZING)

# One module of core takes half a minute, one of proxy a few; all of them an hour.
mutation: setup ## plant small faults and demand that a test fails (MODULE=sidecar/core/resend.py; default: all rules)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/mutation.txt
	$(BIN)/python -m tests.mutation.run $(MODULE)

pythons: setup ## run the suite with the other Pythons, 3.11 to 3.14, that are here or among Debian's packages (PYTHONS=3.14)
	$(BIN)/python -m tests.deploy.pythons $(addprefix --version=,$(PYTHONS))

MINUTES_OF_SOAK ?= 10
SECONDS_OF_STOPPED_LOGS ?= 60
soak: setup ## steady load with aborts, and with a log that nobody reads; fails if anything grows (MINUTES_OF_SOAK=10)
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES_OF_SOAK)
	$(BIN)/python -m benchmarks.stopped_logs --seconds $(SECONDS_OF_STOPPED_LOGS)

CALLS_OF_DELIVERIES ?= 30000
deliveries: setup ## the random test of deliveries: plain and TLS, on both event loops (CALLS_OF_DELIVERIES=30000)
	$(BIN)/python -m benchmarks.deliveries --calls $(CALLS_OF_DELIVERIES) --loop uvloop
	$(BIN)/python -m benchmarks.deliveries --calls $(CALLS_OF_DELIVERIES) --loop asyncio
	$(BIN)/python -m benchmarks.deliveries --calls $(CALLS_OF_DELIVERIES) --loop uvloop --tls
	$(BIN)/python -m benchmarks.deliveries --calls $(CALLS_OF_DELIVERIES) --loop asyncio --tls

bench: setup ## the sidecar beside other proxies, in an hour (ARGUMENTS=--quick: ten minutes; ARGUMENTS=--help)
	$(BIN)/python -m benchmarks.compare $(ARGUMENTS)

instructions: setup ## hold the instructions of a call to the baseline; needs valgrind (ARGUMENTS=--write | --where)
	$(BIN)/python -m benchmarks.instructions $(ARGUMENTS)

SBOM ?= build/mangopay-sidecar.cdx.json
sbom: build/sbom/.complete ## write the bill of materials (CycloneDX) of what runs: build/mangopay-sidecar.cdx.json
	@sed 's/^dynamic = \["version"\]/version = "$(VERSION)"/' pyproject.toml >build/sbom/pyproject.toml
	@awk '/^[a-z]/ { known = seen[$$1]++ } !known' requirements/run.txt requirements/otel.txt >build/sbom/requirements.txt
	PYTHONWARNINGS=ignore build/sbom/bin/cyclonedx-py requirements build/sbom/requirements.txt --pyproject build/sbom/pyproject.toml \
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

# Everywhere that the version stands.
VERSIONED = sidecar/version.py Dockerfile docs/deploy.md $(shell grep -rlF '$(VERSION)' deploy --include='*.yaml' --include='*.yml')
bump: ## give everything the next version, and CHANGELOG.md its heading (NEW=0.2.0)
	test -n "$(NEW)"
	sed -i 's/\b$(subst .,\.,$(VERSION))\b/$(NEW)/g' $(VERSIONED)
	sed -i "s/^## Unreleased$$/&\n\n## $(NEW) - $$(date -u +%F)/" CHANGELOG.md

home:
	@echo $(SOURCE)

dist: setup ## build sdist and wheel into build/dist
	rm -rf build/dist build/lib build/bdist.* && mkdir -p build/dist
	SOURCE_DATE_EPOCH=$$(git show --no-patch --format=%ct HEAD) $(BIN)/python -c 'from compiling import backend; print(backend.build_sdist("build/dist"), backend.build_wheel("build/dist"))' | tail -n 1
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

workflows: build/gates/.complete ## check .github/ and the recipe for it (actionlint, zizmor)
	build/gates/bin/actionlint
	build/gates/bin/actionlint deploy/ci/github-actions.yml
	build/gates/bin/zizmor --offline --quiet --persona=pedantic .github

# MkDocs with its theme, in an environment of its own: 170 MB, made once.
build/docs/.complete: requirements/docs.txt
	$(PYTHON) -m venv build/docs
	build/docs/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

# With --quiet, warnings would not be counted.
docs: build/docs/.complete ## build the site of docs/ into build/site (mkdocs --strict); nothing on it may come from elsewhere
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --strict
	$(PYTHON) -m tests.deploy.site build/site

image-check: setup ## build the image and run it hardened, with Debian's buildah, runc and debootstrap (as root)
	$(BIN)/python -m tests.deploy.built_image

lock: ## pin the requirements again (needs uv on the PATH)
	cd requirements && for set in run build compile dev otel test fuzz mutation sbom kubectl gates docs wheels bench-envoy bench-fastapi bench-mitmproxy; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' $$set.in -o $$set.txt || exit 1; done

clean: ## remove .venv and what tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* .bench build *.egg-info
