# The project's commands: `make help`. Nothing is done twice: system packages are probed for, the virtual environment
# follows locks/ and pyproject.toml, the extension follows the C++ sources, and ninja does the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?=
JOBS ?= $(shell nproc)
# Sanitizers that `make test` runs the C++ tests under, besides the plain build: SANITIZERS="asan tsan ubsan".
# In continuous integration (CI=true) the first two do.
SANITIZERS ?= $(if $(CI),asan tsan)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.stamp-installed
BUILT := $(VENV)/.stamp-built
INSTALL := scripts/install.sh $(VENV)

CXX_SOURCES := $(shell find CMakeLists.txt cmake include src python/bindings -type f 2>/dev/null)

export PYTHON JOBS
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
# A path of the caller's own must not shadow what is installed in .venv.
unexport PYTHONPATH PYTHONHOME

.PHONY: help
help: ## this list
	@echo 'make <command>:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14 | sed 's/^/  /'
	@echo 'Variables: PYTHON=<interpreter> for .venv, JOBS=<n>; of demo: CALLS, PICTURE, BASE_URL, API_KEY, MODEL;'
	@echo '  of test: SANITIZERS="asan tsan ubsan", PYTEST_ARGS, CTEST_ARGS, PACKAGE_ARGS; of bench: PART=pool, http, async, cpp, h2, fleet or proxy, BENCH_ARGS;'
	@echo '  of stress: see scripts/stress.sh.'

# --- set-up -----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(BUILT) ## what is missing, .venv, and the package in it (editable, built from source)

.PHONY: system
system:
	@scripts/setup.sh system

$(BIN)/python: | system
	@scripts/setup.sh venv

# The dependencies at their locked versions, and with them the first build.
$(INSTALLED): pyproject.toml locks/build.txt locks/test.txt scripts/install.sh | $(BIN)/python
	@echo '== installing locks/test.txt and the package into $(VENV)'
	@$(INSTALL) locks build test
	@$(INSTALL) package
	@touch $@ $(BUILT)

# What lint, docs and bench need besides.
$(VENV)/.stamp-%: locks/%.txt $(INSTALLED)
	@$(INSTALL) locks $*
	@touch $@

# Afterwards only the extension, by an incremental build in build/python/; not again right after the first one.
$(BUILT): $(CXX_SOURCES) $(INSTALLED) | $(BIN)/python
	@if [ ! -e $@ ] || [ -n "$$(find $(CXX_SOURCES) -newer $@ -print -quit)" ]; then \
	  echo '== building the extension'; \
	  $(INSTALL) package; \
	fi
	@touch $@

# --- use --------------------------------------------------------------------------------------------------------------

CALLS ?= 256
PICTURE ?= build/demo.png
.PHONY: demo
# The key goes by the environment, where `ps` does not show it.
demo: export FAST_LITELLM_DEMO_API_KEY := $(API_KEY)
demo: $(BUILT) ## real litellm, stock and accelerated, side by side
	@$(BIN)/fast-litellm demo --calls '$(CALLS)' --picture '$(PICTURE)' $(if $(BASE_URL),--base-url '$(BASE_URL)') $(if $(MODEL),--model '$(MODEL)')

# --- tests ------------------------------------------------------------------------------------------------------------

.PHONY: test test-cpp test-package test-python test-asan test-tsan test-ubsan
test: $(BUILT) ## the whole test-suite: C++ and Python
	@scripts/test.sh cpp $(SANITIZERS) package python
test-cpp: | system ## the C++ tests alone
	@scripts/test.sh cpp
test-package: $(INSTALLED) ## the C++ library as others find and build it: CMake, pkg-config, Conan, vcpkg
	@scripts/test.sh package
test-python: $(BUILT) ## the Python tests alone
	@scripts/test.sh python
test-asan: | system ## the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/test.sh asan
test-tsan: | system ## the C++ tests under ThreadSanitizer
	@scripts/test.sh tsan
test-ubsan: | system ## the C++ tests under UndefinedBehaviorSanitizer
	@scripts/test.sh ubsan

# PART=pool, PART=http, PART=async, PART=cpp, PART=h2, PART=fleet or PART=proxy: that part alone.
PART ?=
.PHONY: bench
bench: $(BUILT) $(VENV)/.stamp-bench ## the pool beside other pools, requests and tasks beside raw system calls and other clients, the C++ interface beside its peers, HTTP/2 beside HTTP/1.1, limits of a fleet, litellm beside itself
	@$(if $(filter-out cpp h2,$(PART)),,scripts/setup.sh bench || echo 'going on without these: their rows are left out')
	@$(BIN)/python -m bench.run $(if $(PART),--only '$(PART)') $(BENCH_ARGS)

.PHONY: stress
stress: $(BUILT) ## exits on every Python, threads, forks and limits, many times over (STRESS_PARTS="exit suite pool repeat fleet proxy")
	@scripts/stress.sh

.PHONY: compat
compat: $(BUILT) ## the matrix of versions of litellm, the SDKs alone and the proxy, each in an environment of its own; writes docs/compatibility.md
	@$(BIN)/python scripts/compat.py $(COMPAT_ARGS)

.PHONY: canary
canary: $(BUILT) ## the newest litellm, SDKs, httpx2, aiohttp, uvloop and trio of the index: what is lost under them, as one table
	@$(BIN)/python scripts/canary.py $(CANARY_ARGS)

# PLATFORMS="sid trixie:clang-19": these alone; PLATFORMS=--upgrade: with the newest packages. MIRROR: of Debian, if not apt's.
PLATFORMS ?=
.PHONY: platforms
platforms: ## builds and tests in Debian 12, 13 and sid with each of their compilers, as root; prints one table
	@$${PYTHON:-python3} scripts/platforms.py $(PLATFORMS)

# MUTANTS="name1 name2": these alone; MUTANTS=--list: what there is.
MUTANTS ?=
.PHONY: mutants
mutants: | system ## breaks the sources in named ways, one at a time, and checks that the named test notices; prints one table
	@$${PYTHON:-python3} scripts/mutants.py $(MUTANTS)

# --- quality ----------------------------------------------------------------------------------------------------------

.PHONY: lint format lint-tools
lint-tools: $(VENV)/.stamp-lint
	@scripts/setup.sh lint
lint: lint-tools ## clang-format, clang-tidy, ruff, mypy: check only (LINT=fast leaves clang-tidy out)
	@scripts/lint.sh check $(LINT)
format: lint-tools ## format C++ and Python
	@scripts/lint.sh format

.PHONY: twins
twins: lint-tools ## the blocking halves of code that is written once, asynchronously
	@$(BIN)/python scripts/twins.py
	@scripts/lint.sh format

.PHONY: docs
docs: $(BUILT) $(VENV)/.stamp-docs ## the Python and C++ APIs and the pages of docs/, into build/docs
	@scripts/setup.sh docs
	@rm -rf build/docs
	@FAST_LITELLM_ENABLED=false $(BIN)/python -m pdoc --output-directory build/docs/api fast_litellm
	@doxygen docs/Doxyfile
	@cp -r docs/. README.md CONTRIBUTING.md CHANGELOG.md build/docs/
	@echo 'build/docs/api/index.html build/docs/cpp/index.html'

# Renews the locks; UPGRADE="litellm openai" these packages alone.
UPGRADE ?=
.PHONY: lock
lock: | $(BIN)/python ## the exact versions in locks/, anew: the newest that pyproject.toml allows
	@$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade $(UPGRADE))

.PHONY: clean
clean: ## remove what was built; .venv stays, but will be built anew
	@rm -rf build $(BUILT) .pytest_cache .mypy_cache .ruff_cache
	@find python tests -name __pycache__ -prune -exec rm -rf {} +
