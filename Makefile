# One plain command per target; .ci/run calls the same ones. `make help` lists them.
# CARGO_FLAGS is passed to every cargo call, for example CARGO_FLAGS=--offline.

CARGO ?= cargo
CARGO_FLAGS ?=
TEST ?=
INTEROP := $(shell scripts/setup path)
PYTHON := $(INTEROP)/bin/python

.PHONY: help setup demo test test-interop test-s3 fmt fmt-check lint doc deny bench peers queries freshness golden ci
.DEFAULT_GOAL := help

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "%-14s %s\n", $$1, $$2}'

setup: ## installs MariaDB's server and the Python readers (see scripts/setup)
	scripts/setup

demo: setup ## the whole story on this machine: live MariaDB to Hudi tables to queries
	$(CARGO) run $(CARGO_FLAGS) --bin lakebed -- demo

test: setup ## every test that needs no JVM; TEST=name runs a choice
	$(CARGO) test $(CARGO_FLAGS) --workspace -- $(TEST)

test-interop: ## the tests that need Apache Hudi on Spark, MySQL 8.0 and 5.7, or much time
	scripts/setup interop
	$(CARGO) test $(CARGO_FLAGS) --workspace --tests -- --ignored --skip a_store_that_crashes $(TEST)

test-s3: ## the tests of object stores on versitygw, which is killed as well (needs Go, which builds it: some minutes)
	scripts/setup
	test -x $(INTEROP)/bin/versitygw || GOBIN=$(INTEROP)/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	LAKEBED_TEST_STORE=versitygw $(CARGO) test $(CARGO_FLAGS) --workspace --tests -- --include-ignored object_store::

fmt: ## formats the code
	$(CARGO) fmt --all

fmt-check: ## fails when the code is not formatted
	$(CARGO) fmt --all --check

lint: ## clippy with warnings as errors
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

doc: ## the API documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps --document-private-items

deny: ## licences and sources of all dependencies (needs cargo-deny: cargo install --locked cargo-deny)
	$(CARGO) deny check bans licenses sources

bench: ## the criterion benchmarks
	$(CARGO) bench $(CARGO_FLAGS) --workspace

peers: setup ## side by side with mariadb-dump and mariadb-binlog (see benches/peers)
	benches/peers/run

queries: ## queries side by side with DataFusion, hudi-rs and Spark (see benches/query)
	scripts/setup interop
	$(PYTHON) -m pip install --quiet datafusion
	$(CARGO) build $(CARGO_FLAGS) --release --bin lakebed
	LAKEBED_BIN=$${CARGO_TARGET_DIR:-target}/release/lakebed $(PYTHON) benches/query/query.py

freshness: setup ## how long after its commit at the source a row is visible (see benches/freshness)
	$(CARGO) build $(CARGO_FLAGS) --release --bin lakebed
	LAKEBED_BIN=$${CARGO_TARGET_DIR:-target}/release/lakebed benches/freshness/freshness.py

golden: ## makes the golden tables anew with Apache Hudi in target/golden (25 minutes)
	scripts/setup interop
	$(PYTHON) tests/interop/golden.py target/golden

ci: ## everything the CI runs, in its order
	.ci/run
