# `make run` builds and runs the host, `make test` runs all tests, `make install` and `make deb`
# install it and package it. `make help` lists all targets.

CARGO ?= cargo
PLUGINS := device hello journal
CONFIG ?= config.toml
# The build directory of cargo.
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Inputs for each target of `make fuzz`. A full run has 5,000,000.
FUZZ_RUNS ?= 100000

# For `make bench`: measure only the rows with this text in their names and those that they are
# compared with, such as ROWS=worker.
ROWS ?=

# For `make install`: the directory of the installation, and a directory that is put before every
# path.
PREFIX ?= /usr/local
DESTDIR ?=

# The build of `make run` and of the tests of PHP: without most optimizations, the live screen of
# `jackfield top` and the manual pages. A release build takes more than twice as long.
QUICK := --profile quick --no-default-features --features jackfield/cli

.PHONY: run test test-rust test-fuzz test-php soak fuzz memory miri bench bench-flat bench-tail instructions build install deb lint deny clean help

help:
	@echo "make run      build, install the example plugins in plugins/, serve, and show a request and its reply"
	@echo "make test     run all tests: test-rust, test-fuzz, test-php"
	@echo "make soak     run long tests: 10,000 reloads, 2,000,000 requests, 4 GiB of invalid bytes, 10,000 clients that disconnect, 2,200 faults in workers"
	@echo "make fuzz     fuzz each reader of bytes from outside with FUZZ_RUNS=$(FUZZ_RUNS) inputs; needs a C++ compiler"
	@echo "make bench    compare Jackfield with other servers, takes about six minutes; ROWS=worker for some; also bench-flat, bench-tail"
	@echo "make instructions   count instructions per request, and compare them with bench/instructions.txt"
	@echo "make miri     test the protocol and the ABI under Miri; needs a nightly toolchain"
	@echo "make memory   test the plugin API under valgrind"
	@echo "make lint     check formatting and lints; warnings are errors"
	@echo "make deny     check licences, sources and security advisories of the dependencies"
	@echo "make install  install program, plugins, units and pages; PREFIX=$(PREFIX) DESTDIR=$(DESTDIR); see docs/install.md"
	@echo "make deb      build a Debian package with the same files in $(TARGET)/debian"
	@echo "make clean    remove build output and installed example plugins"

build:
	@scripts/need cc
	$(CARGO) build --release --package jackfield $(PLUGINS:%=--package jackfield-plugin-%)

run:
	@scripts/need cc
	$(CARGO) build $(QUICK) --package jackfield $(PLUGINS:%=--package jackfield-plugin-%)
	@scripts/install-plugins $(TARGET)/quick plugins $(PLUGINS)
	@scripts/run $(TARGET)/quick/jackfield $(CONFIG) plugins

install: build
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install $(TARGET)/release $(PLUGINS)

deb: build
	@scripts/need cargo-deb
	scripts/deb $(TARGET)/release $(TARGET)/debian $(PLUGINS)

deny:
	@scripts/need cargo-deny
	$(CARGO) deny check bans licenses sources
	@# Downloads the advisories. Workspaces that are not shipped must have no known vulnerabilities, either.
	for manifest in Cargo.toml fuzz/Cargo.toml bench/peers/Cargo.toml; do \
		$(CARGO) deny --manifest-path $$manifest --config deny.toml check advisories || exit; done

test:
	@scripts/need cc php phpunit php-fpm
	@scripts/need --wanted systemd cargo-deb
	@MAKE='$(MAKE)' scripts/keep-going test-rust test-fuzz test-php

test-rust:
	$(CARGO) test --workspace --no-fail-fast

# Runs the fuzz targets on their seeds. They are a workspace of their own.
test-fuzz:
	$(CARGO) test --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET)/fuzz --quiet

test-php:
	JACKFIELD_NO_SKIPS=1 clients/php/run-tests.sh

soak:
	JACKFIELD_SOAK=1 $(CARGO) test --package jackfield-tests --test e2e -- --nocapture --test-threads 1 \
		reload::unloading::unloads reload::state_transfer::loses reload::under_load overload::floods wire::disconnects \
		worker::faults worker::byte_equality::replies worker::reload worker::restarts::pauses \
		context::cancel_floods context::client_deadlines context::deadline context::hostile context::restarts

# Miri finds undefined behaviour that works on real processors. It tests the protocol and the ABI,
# from both sides through the tests of the plugins. Skipped are tests that count allocations, and
# tests that take minutes each in an interpreter.
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || \
		{ echo "missing: install with: rustup component add miri rust-src --toolchain nightly" >&2; exit 1; }
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=2 CARGO_TARGET_DIR=$(TARGET)/miri $(CARGO) +nightly miri test \
		--package jackfield-protocol --package jackfield-plugin-api --package jackfield-plugin-device \
		--package jackfield-plugin-hello --package jackfield-plugin-journal --lib --tests -- \
		--skip allocation --skip depth_counts --skip nesting_does --skip every_vector --skip vectors:: --skip one_to_a

# Memory errors and leaks on the real processor, without Miri.
memory:
	@scripts/need cc valgrind
	$(CARGO) --config "target.'cfg(unix)'.runner = 'valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite'" \
		test --package jackfield-plugin-api --lib

fuzz:
	@scripts/need c++ cargo-fuzz
	scripts/fuzz $(FUZZ_RUNS) $(abspath $(TARGET))/fuzz

# Missing servers are installed or skipped; see bench/README.md.
bench: build
	$(CARGO) build --release --package jackfield-instructions --bin embedded-calls
	@scripts/bench $(TARGET) $(if $(ROWS),--only '$(ROWS)')

bench-flat: build
	@scripts/bench $(TARGET) --flat

bench-tail: build
	@scripts/bench $(TARGET) --tail

instructions:
	@scripts/need cc valgrind
	$(CARGO) build --release --package jackfield --package jackfield-instructions
	scripts/instructions $(TARGET)/release --check

lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path bench/peers/Cargo.toml
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --package jackfield --no-default-features --features cli -- --deny warnings
	$(CARGO) test --package jackfield-tests --test style --quiet

clean:
	$(CARGO) clean
	rm -f plugins/*.so
