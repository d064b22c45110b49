# Everything that the project does, each from a fresh clone: set-up happens by itself and only when something changed.
#
#   make run     the mesh of config/ with its example services behind it, until Ctrl-C
#   make test    the whole test suite
#   make help    the rest

PYTHON ?= python3
VENV ?= .venv
JOBS ?= auto
SECONDS ?= 60
TESTS ?=
ARGS ?=

BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
CORE := $(wildcard fastmesh/_core/*.pyx fastmesh/_core/*.pxd fastmesh/_core/*.h)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SANITIZED := build/asan

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check lint types format build asan asan-build fuzz bench micro wheel docs docker-check clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

# --- set-up ----------------------------------------------------------------------------------------------------------

$(STAMPS)/venv: | .ci/system_packages
	@bash .ci/system_packages "$(PYTHON)"
	@echo "set-up: $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"
	@mkdir -p $(STAMPS) && touch $@

# FASTMESH_MODULES=none: the compiled modules are built in place by build/stamp, not a second time by pip.
$(STAMPS)/run: pyproject.toml $(STAMPS)/venv
	@echo "set-up: what fastmesh needs to build and run"
	@$(PIP) install --group build
	@FASTMESH_MODULES=none PYTHONWARNINGS=ignore $(PIP) install --no-build-isolation --editable .
	@touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/run
	@echo "set-up: what the tests need"
	@$(PIP) install --group test
	@touch $@

$(STAMPS)/dev: pyproject.toml $(STAMPS)/test
	@echo "set-up: what the checks need"
	@$(PIP) install --group dev
	@touch $@

build/stamp: setup.py $(CORE) $(STAMPS)/run
	@echo "build: fastmesh/_core"
	@$(BIN)/python setup.py -q build_ext --inplace --build-temp build/objects
	@mkdir -p build && touch $@

build: build/stamp  ## the compiled modules, in place

# --- use -------------------------------------------------------------------------------------------------------------

run: build/stamp  ## the mesh of config/ with example services, until Ctrl-C
	@$(BIN)/python config/example/run.py

test: build/stamp $(STAMPS)/test  ## the test suite (TESTS=tests/unit for a part, JOBS=1 for one process)
	$(BIN)/python -m pytest -n $(JOBS) $(TESTS)

# --- quality ---------------------------------------------------------------------------------------------------------

check: lint types  ## lint, types, and that every .pyi says what its module does (make -k check: all findings)

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint fastmesh/_core

types: build/stamp $(STAMPS)/dev
	$(BIN)/mypy fastmesh
	$(BIN)/stubtest --concise --mypy-config-file pyproject.toml --allowlist tests/architecture/stubtest-allowlist.txt \
	    $(sort $(patsubst fastmesh/_core/%.pyi,fastmesh._core.%,$(wildcard fastmesh/_core/*.pyi)))

format: $(STAMPS)/dev  ## format the Python files
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# The sanitizers need other compiler flags, so they get a copy of the tree; times are kept, so it builds incrementally.
asan-build: $(STAMPS)/test
	@mkdir -p $(SANITIZED)/tree
	@find $(SANITIZED)/tree -path $(SANITIZED)/tree/build -prune -o -type f ! -name '*.so' -exec rm -f {} +
	@tar -cf - --exclude='*.so' --exclude=__pycache__ fastmesh tests bench config docs docker setup.py pyproject.toml \
	    README.md CHANGELOG.md LICENSE MANIFEST.in Makefile | tar -xf - -C $(SANITIZED)/tree
	@cd $(SANITIZED)/tree && FASTMESH_SANITIZE=1 $(abspath $(BIN))/python setup.py -q build_ext --inplace \
	    --build-temp build/objects

UNDER_SANITIZERS = PYTHONPATH=$(abspath $(SANITIZED)/tree) PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
    LD_PRELOAD="$$(for name in asan.so ubsan.so stdc++.so.6; do gcc -print-file-name=lib$$name; done | tr '\n' ' ')" \
    $(abspath $(BIN))/python

asan: asan-build  ## the test suite under AddressSanitizer and UndefinedBehaviorSanitizer
	cd $(SANITIZED)/tree && $(UNDER_SANITIZERS) -m pytest -n $(JOBS) $(TESTS)

fuzz: asan-build  ## the fuzz targets under the sanitizers, for SECONDS=60
	$(UNDER_SANITIZERS) tests/fuzz/run.py --seconds $(SECONDS)

# --- measure ---------------------------------------------------------------------------------------------------------

bench: build/stamp $(STAMPS)/test  ## side by side with nginx, HAProxy and Envoy; writes bench/RESULTS.md (ARGS=--quick)
	$(BIN)/python -m bench.macro $(ARGS)

micro: build/stamp $(STAMPS)/test  ## the parts of the request path, each alone
	$(BIN)/python -m pytest bench/micro --benchmark-only $(ARGS)

# --- ship ------------------------------------------------------------------------------------------------------------

wheel: $(STAMPS)/dev  ## sdist and manylinux wheel in dist/, tried in an empty environment without a compiler
	@rm -rf build/wheel dist && mkdir -p build/wheel dist
	$(BIN)/python -m build --no-isolation --outdir build/wheel . >build/wheel/log 2>&1 || { cat build/wheel/log; exit 1; }
	$(BIN)/auditwheel show build/wheel/*.whl
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl
	@cp build/wheel/*.tar.gz dist/
	$(BIN)/python -m tests.packaging.wheel_check dist

docker-check: $(STAMPS)/test  ## the steps of docker/Dockerfile in a clean root folder (root and debootstrap, no container engine)
	$(BIN)/python -m tests.packaging.docker_check docker/Dockerfile

docs: build/stamp  ## write the configuration reference anew
	$(BIN)/python -m fastmesh.config.reference

clean:  ## remove what was built; the environment stays (rm -r .venv removes it)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find fastmesh -name '*.so' -delete
	find fastmesh tests bench config -name __pycache__ -type d -prune -exec rm -rf {} +
