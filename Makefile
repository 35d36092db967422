# What a fresh machine with rustup, make and apt needs for `make demo` and `make test` is installed on the way.
# The rest is cargo: `cargo build --release` needs a C compiler and cmake, nothing else.

CARGO   ?= cargo
# PROFILE=dev builds several times faster and runs several times slower.
PROFILE ?= release
BUILT    = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# `make demo ONCE=1` ends after the tour; ARGS passes the rest: make demo ARGS="--http 127.0.0.1:9080".
ONCE    ?=
ARGS    ?=
NEXTEST_PROFILE ?= default

# Installs what the shell variable `missing` names.
define APT_INSTALL
	if [ -n "$$missing" ]; then \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    command -v apt-get >/dev/null || { echo "please install:$$missing" >&2; exit 1; }; \
	    $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	fi
endef

# One long test (settings, package, name): its figures, or all that it said where it fails.
define SOAK
	log=$$(mktemp); \
	if env $(1) $(CARGO) test --locked --package $(2) --test it $(3) -- --nocapture >$$log 2>&1; then \
	    grep -aE 'acknowledged|nothing was tested' $$log; rm $$log; \
	else \
	    cat $$log; rm $$log; exit 1; \
	fi
endef

.PHONY: help demo build test plugins plugin-tools lint bench bench-tools soak soak-tools certs tools clean
.DEFAULT_GOAL := help

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build plugins ## Everything in one process, with a tour of orders (ONCE=1 ends after it)
	$(BUILT)/sluis demo $(if $(filter-out 0,$(ONCE)),--once) $(ARGS)

build: tools ## The program
	$(CARGO) build --locked --profile $(PROFILE) --bin sluis

plugins: build plugin-tools ## The tenants' components, into plugins/dist
	SLUIS=$(abspath $(BUILT)/sluis) plugins/build.sh

test: PROFILE = dev
test: tools plugins ## Every test
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest || true
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    set -x; $(CARGO) nextest run --locked --workspace --profile $(NEXTEST_PROFILE); \
	else \
	    set -x; $(CARGO) test --locked --workspace --no-fail-fast; \
	fi
	cd plugins && $(CARGO) test --locked --workspace

lint: tools ## Formatting and lints, warnings denied
	$(CARGO) fmt --all --check
	cd plugins && $(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd plugins && $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd plugins && $(CARGO) clippy --locked --workspace --exclude inspect --target wasm32-wasip2 -- -D warnings

bench: plugins bench-tools ## Micro-benchmarks of every stage (ARGS=instructions counts instead of timing)
	$(CARGO) bench --locked --package sluis-bench -- $(ARGS)

bench-tools: ## Install what counts instructions
	@missing=; \
	command -v valgrind >/dev/null || missing="$$missing valgrind"; \
	$(APT_INSTALL)

soak: plugins soak-tools ## The long form of the crash tests: kills, 200 power cuts, every system call (as root)
	@$(call SOAK,SLUIS_KILL_ROUNDS=20 SLUIS_KILL_ORDERS=10000,sluis,a213)
	@$(call SOAK,SLUIS_LEDGER_KILL_ROUNDS=200,sluis-ledger,a213)
	@$(call SOAK,SLUIS_POWER_ROUNDS=200,sluis-ledger,a215)
	@$(call SOAK,SLUIS_STRACE_RANGE=200,sluis-ledger,a214)

soak-tools: ## Install what ends processes and cuts the power
	@missing=; \
	command -v strace >/dev/null || missing="$$missing strace"; \
	command -v mkfs.ext4 >/dev/null || missing="$$missing e2fsprogs"; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	$(APT_INSTALL)

certs: ## A throw-away CA and certificate in certs/local
	certs/make.sh

tools: ## Install what builds and tests need and is not there: C compilers, cmake, the pinned toolchain
	@missing=; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v cmake >/dev/null || missing="$$missing cmake"; \
	command -v clang >/dev/null || missing="$$missing clang"; \
	command -v wasm-ld >/dev/null || missing="$$missing lld"; \
	$(APT_INSTALL)
	@command -v rustup >/dev/null || command -v $(CARGO) >/dev/null || { echo 'please install rustup: https://rustup.rs' >&2; exit 1; }
	@if command -v rustup >/dev/null; then \
	    rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip2 || rustup toolchain install; \
	fi

plugin-tools: ## Install what builds plugins in JavaScript and Python
	@missing=; \
	command -v node >/dev/null && command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3 python3-venv"; \
	$(APT_INSTALL)
	@plugins/tools/install.sh

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf plugins/target plugins/dist plugins/tools/node_modules plugins/tools/.venv
