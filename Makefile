# evcore's tasks. `make run` and `make test` do all their set-up themselves: a virtual environment in .venv, its packages and
# the release build of the native module, each kept up to date by a stamp file. Wanted from the machine: Python >= 3.11, cargo.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
# cargo and pytest share the cores among themselves; lint findings stay in one piece.
.NOTPARALLEL:
unexport MAKEFLAGS MFLAGS

# Whatever environment the caller's shell has active stays out of ours.
export VIRTUAL_ENV := $(CURDIR)/.venv
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH
# rustup's place, for shells that were open before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

PYTHON ?= python3 python3.13 python3.12 python3.11 python3.14
ARGS ?=
FUZZ_SECONDS ?= 60

python := .venv/bin/python
manifests := Cargo.toml $(wildcard Cargo.lock) $(wildcard .cargo/config.toml)
rust_sources := $(shell find rust/core rust/native -type f) $(manifests)
# A stamp says nothing when the module it stands for was deleted.
native_missing := $(if $(wildcard python/evcore/_native.*so python/evcore/_native.*pyd),,force)

dylib := $(if $(filter Darwin,$(shell uname -s)),.dylib,.so)

need_cargo = @command -v cargo >/dev/null || { echo "evcore: needs a Rust toolchain, but cargo was not found: https://rustup.rs" >&2; exit 1; }

##@ Use

.PHONY: run
run: .venv/.native ## Start a server with three simulated stations, one of each OCPP version (ARGS="--port 9001" is passed on).
	.venv/bin/evcore serve --simulate 3 $(ARGS)

.PHONY: build
build: .venv/.native ## Build the native module in release mode into .venv.

##@ Check

# What lies beneath the codec, at its real peers or under attack, is the same on both backends: once is enough.
beneath := tests/hostile tests/interop tests/mqtt tests/integration/test_server_bench.py

.PHONY: test
test: lint test-rust test-both test-plain ## Everything a change must pass: linters, the core's tests, pytest on both backends.

.PHONY: test-both
test-both: .venv/.native .venv/.tools ## pytest on both backends side by side: most of it waits for sockets and processes.
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	EVCORE_BACKEND=pure $(python) -m pytest $(beneath:%=--ignore=%) $(ARGS) >"$$log" 2>&1 & pure=$$!; \
	native=0; EVCORE_BACKEND=native $(python) -m pytest $(ARGS) || native=$$?; \
	status=0; wait $$pure || status=$$?; \
	echo "== the pure backend"; cat "$$log"; \
	exit $$((native ? native : status))

.PHONY: test-rust
test-rust: ## The core crate's own tests; no Python in them.
	$(need_cargo)
	cargo test --locked --quiet -p evcore-core

.PHONY: test-native
test-native: .venv/.native .venv/.tools ## pytest on the native backend (ARGS="tests/unit -k frame" is passed on).
	EVCORE_BACKEND=native $(python) -m pytest $(ARGS)

.PHONY: test-plain
test-plain: .venv/.native .venv/.tools ## Dicts from templates against the module built without them.
	$(need_cargo)
	RUSTFLAGS="--cfg evcore_plain_dicts" cargo build --locked --quiet --release -p evcore-native --target-dir target/plain
	EVCORE_BACKEND=native EVCORE_PLAIN=target/plain/release/lib_native$(dylib) $(python) -m pytest tests/parity/test_plain_dicts.py

.PHONY: test-pure
test-pure: .venv/.native .venv/.tools ## pytest on the pure backend, but for what lies beneath the codec.
	EVCORE_BACKEND=pure $(python) -m pytest $(beneath:%=--ignore=%) $(ARGS)

.PHONY: test-quick
test-quick: .venv/.native .venv/.tools ## Unit tests alone, native backend, stop at the first failure.
	EVCORE_BACKEND=native $(python) -m pytest -x -q tests/unit $(ARGS)

.PHONY: test-nightly
test-nightly: .venv/.native .venv/.tools ## The long runs: 200,000 oracle cases and more.
	EVCORE_BACKEND=native EVCORE_PROFILE=nightly $(python) -m pytest --timeout 7200 tests/property tests/conformance tests/parity $(ARGS)

.PHONY: lint
lint: lint-rust lint-python typecheck ## All linters and type checkers; nothing is changed.

.PHONY: lint-rust
lint-rust: .venv/.python ## rustfmt, clippy (pedantic, warnings are errors), rustdoc.
	$(need_cargo)
	cargo fmt --check
	cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --quiet --no-deps --document-private-items -p evcore-core

.PHONY: lint-python
lint-python: .venv/.tools ## ruff: formatting and rules.
	$(python) -m ruff format --check .
	$(python) -m ruff check .

.PHONY: typecheck
typecheck: .venv/.native .venv/.tools ## mypy --strict, and the stub of the native module against the module.
	$(python) -m mypy --strict python/evcore
	$(python) -m mypy.stubtest evcore._native --allowlist tests/typing/stubtest-allowlist.txt

.PHONY: fmt
fmt: .venv/.tools ## Format Rust and Python, apply ruff's safe fixes.
	$(need_cargo)
	cargo fmt
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZ_SECONDS (60) on the nightly toolchain.
	$(need_cargo)
	@cargo +nightly --version >/dev/null 2>&1 || { echo "evcore: fuzzing needs the nightly toolchain: rustup toolchain install nightly" >&2; exit 1; }
	@cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@targets=$$(cargo +nightly fuzz list --fuzz-dir rust/fuzz); \
	for target in $$targets; do \
	  echo "== fuzz $$target, $(FUZZ_SECONDS) s"; \
	  cargo +nightly fuzz run --fuzz-dir rust/fuzz "$$target" -- -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1; \
	done

##@ Measure

.PHONY: bench
bench: .venv/.native .venv/.tools ## Time the codec beside its peers: tables of ratios, and benches/out/latest.json.
	@mkdir -p benches/out
	$(python) -m benches --json benches/out/latest.json $(ARGS)

.PHONY: gate
gate: .venv/.native .venv/.tools ## The performance gate: instruction counts and in-run ratios against the committed bars.
	$(python) -m benches.gate $(ARGS)

.PHONY: bench-server
bench-server: .venv/.native .venv/.tools ## Time the server beside its peers: round trips, memory, 100,000 stations, storms, TLS (half an hour; needs go, node).
	@mkdir -p benches/out
	$(python) -m benches.server --pages $(ARGS)

.PHONY: bench-mqtt
bench-mqtt: .venv/.native .venv/.tools ## Time the bridge beside aiomqtt, and count what every kind of fault loses (half an hour; needs mosquitto).
	@mkdir -p benches/out
	$(python) -m benches.mqtt --pages $(ARGS)

.PHONY: soak
soak: .venv/.native .venv/.tools ## Half an hour of load with churn: resident memory and object census must stay flat (ARGS="--minutes 5").
	$(python) -m benches.soak $(ARGS)

.PHONY: bench-pages
bench-pages: .venv/.tools ## Paste the tables of the last `make bench` into README.md and benches/README.md.
	$(python) -m benches --markdown README.md
	$(python) -m benches --markdown

##@ House

.PHONY: pages
pages: .venv/.native ## Draw the tables of docs/endpoint.md and docs/events.md from the code, and the events' schemas.
	$(python) -m evcore.endpoint docs/endpoint.md
	$(python) -m evcore.bus docs/events.md

.PHONY: clean
clean: ## Remove what was built: .venv, target, the native module, caches.
	rm -rf .venv target rust/fuzz/target dist benches/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f python/evcore/_native.*so python/evcore/_native.*pyd
	find python tests benches -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Print this list.
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

# Set-up. Each stamp is newer than everything it was made from.

.venv/.python:
	@for candidate in $(PYTHON); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "evcore: needs Python 3.11 or newer, but none of these is: $(PYTHON); give one as PYTHON=..." >&2; exit 1; \
	fi; \
	"$$found" -c 'import ensurepip, venv' 2>/dev/null || { echo "evcore: $$found lacks the venv module; on Debian: apt install python3-venv" >&2; exit 1; }; \
	echo "evcore: making .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv
	$(python) -m pip install --quiet --upgrade "pip>=25.1" "maturin>=1.14,<2"
	@touch $@

.venv/.native: $(rust_sources) pyproject.toml $(native_missing) | .venv/.python
	$(need_cargo)
	@echo "evcore: building the native module in release mode"
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(python) -m pip install --quiet --no-build-isolation --editable '.[all]'
	@touch $@

.venv/.tools: pyproject.toml | .venv/.python
	$(python) -m pip install --quiet --group test --group bench --group lint
	@touch $@

.PHONY: force
force:
