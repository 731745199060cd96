# Every command of the project. `make` alone lists them; each sets up by itself what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SEEDS ?= 200
FUZZ_SECONDS ?= 60
ARGS ?=

BIN := .venv/bin
NATIVE_SOURCES := $(wildcard native/ffi_build.py native/*/*.c native/*/*.h)
C_FILES = $(shell find native tests benchmarks -name '*.[ch]' 2>/dev/null)
PROGRAMS = $(MAKE) --no-print-directory -j$(JOBS) -f tests/native.mk

# What meets the interpreter: sockets and event loops, the command line, the codec's two halves.
PYTHON_TESTS := tests/e2e tests/cli $(wildcard tests/unit/test_python_*.py)

# What goes through the interpreter and the core together. Two tests measure memory, and the
# sanitizer's own is no news; the black holes take a minute and find nothing that the others do not.
# Nor what forks: GCC's ASan has a malloc of its own, of which a child inherits the locks as they are.
# If a thread was in it just then, the child waits for ever (glibc's lets nobody in during a fork).
ASAN_TESTS := $(wildcard tests/unit/test_api_*.py tests/unit/test_python_*.py) tests/e2e \
	--ignore=tests/e2e/test_black_hole.py -k "not stays_behind and not fork"

.PHONY: help setup test other demo bench sim fuzz exhaustive stress replay asan programs lint types \
	sanitize format clean

help: ## this list
	@echo "rudp: make what?"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: .venv/.dev .venv/.native ## create .venv with everything; installs system packages where it may

# The steps of .ci/setup, each redone when what it reads has changed. The demo needs less than the rest.
.venv/.run: pyproject.toml setup.py
	@PYTHON="$(PYTHON)" .ci/setup $(if $(filter demo,$(MAKECMDGOALS)),run,dev)
	@touch $@ $(if $(filter demo,$(MAKECMDGOALS)),,.venv/.dev)

.venv/.dev: pyproject.toml | .venv/.run
	@test $@ -nt pyproject.toml || PYTHON="$(PYTHON)" .ci/setup dev
	@touch $@

.venv/.native: $(NATIVE_SOURCES) | .venv/.run
	@.ci/setup native
	@touch $@

# Most tests wait, for each other's processes or for a timeout: two beside each other use both CPUs.
PYTEST := python -m pytest -q -n 2 --dist loadfile -p no:benchmark

test: setup programs ## run all tests (ARGS="-k name" goes to pytest)
	@$(PROGRAMS) check
	@$(BIN)/$(PYTEST) $(ARGS) || [ $$? -eq 5 ]

# The core uses the limited API only, so the very file that was built for .venv must load there too.
other: setup ## what meets the interpreter, once more under another Python, if the machine has one
	@.ci/setup other
	@[ ! -x .venv/other/bin/python ] || { .venv/other/bin/python --version && \
	    .venv/other/bin/$(PYTEST) $(PYTHON_TESTS) $(ARGS); }

demo: .venv/.run .venv/.native ## three nodes, real data, faults: does every call run once, is every byte right?
	@$(BIN)/python -m rudp.demo $(ARGS)

bench: setup ## rudp beside plain C, as ratios (ARGS="--seconds 1 latency")
	@$(PROGRAMS) yardsticks
	@$(BIN)/python -m pytest -q benchmarks/micro --benchmark-disable
	@$(BIN)/python -m benchmarks $(ARGS)

asan: setup ## the package over real sockets under ASan and UBSan, Python's memory included
	@.ci/asan $(PYTEST) -n 4 $(ASAN_TESTS) $(ARGS)

programs: ## build the C programs under tests/ and benchmarks/
	@$(PROGRAMS) all

sim: ## simulate SEEDS=200 clusters under ASan and UBSan (SIM=sim-fast: optimised, for long runs)
	@$(PROGRAMS) run-sim SEEDS=$(SEEDS)

exhaustive: ## search small scopes of the pure engine completely
	@$(PROGRAMS) run-exhaustive

stress: ## threads against each other under ThreadSanitizer
	@$(PROGRAMS) run-stress

replay: ## the committed fuzz corpus under ASan and UBSan
	@$(PROGRAMS) run-replay

fuzz: ## fuzz every target for FUZZ_SECONDS=60 (needs clang)
	@$(PROGRAMS) run-fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)

sanitize: sim exhaustive replay stress asan ## every test of the C code under its sanitizer

lint: .venv/.dev ## ruff and clang-format, changing nothing
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/clang-format --style=file:native/.clang-format --dry-run -Werror $(C_FILES)
	@echo "lint: nothing found"

types: .venv/.dev ## mypy, strict
	@$(BIN)/mypy

format: .venv/.dev ## lay the code out: ruff and clang-format
	@$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format --quiet .
	@$(BIN)/clang-format --style=file:native/.clang-format -i $(C_FILES)

clean: ## remove what was built; keeps .venv (rm -r .venv for that)
	@rm -rf build dist *.egg-info rudp/_native.*so .venv/.native
	@find rudp tests benchmarks native -name __pycache__ -prune -exec rm -rf {} +
