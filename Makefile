# Two commands do everything: `make run` and `make test`. Two more put it where it is to stay: `make install`, `make deb`.

CARGO ?= cargo
PLUGINS := device hello journal
CONFIG ?= config.toml
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Inputs for each target of `make fuzz`; a whole run has 5,000,000.
FUZZ_RUNS ?= 100000

# For `make install`: where it is to live, and a directory to be put before all of it.
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: run test soak fuzz memory miri bench bench-flat bench-tail instructions build install deb lint deny clean help

help:
	@echo "make run    build, put the example plugins into plugins/, serve, and show a request answered"
	@echo "make test   all tests"
	@echo "make soak   the long runs: 10,000 reloads, 2,000,000 requests, 4 GiB of garbage, 10,000 clients that vanish"
	@echo "make fuzz   FUZZ_RUNS=$(FUZZ_RUNS) inputs for each thing that reads bytes from outside; needs a C++ compiler"
	@echo "make bench  Jackfield beside what one would pick instead, about six minutes; also bench-flat and bench-tail"
	@echo "make instructions  instructions per request, compared with bench/instructions.txt"
	@echo "make miri   the protocol and the ABI under Miri; needs a nightly toolchain"
	@echo "make memory the tests of the plugin API under valgrind"
	@echo "make lint   formatting and lints, warnings are errors"
	@echo "make deny   licences, sources and known faults of dependencies"
	@echo "make install PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)   program, plugins, units, pages; see docs/install.md"
	@echo "make deb    the same as a Debian package, in $(TARGET)/debian"

build:
	@scripts/need cc
	$(CARGO) build --release --package jackfield $(PLUGINS:%=--package jackfield-plugin-%)

run: build
	@scripts/install-plugins $(TARGET)/release plugins $(PLUGINS)
	@scripts/run $(TARGET)/release/jackfield $(CONFIG) plugins

install: build
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install $(TARGET)/release $(PLUGINS)

deb: build
	@scripts/need cargo-deb
	scripts/deb $(TARGET)/release $(TARGET)/debian $(PLUGINS)

deny:
	@scripts/need cargo-deny
	$(CARGO) deny check bans licenses sources
	@# Fetches the database of advisories; what is never shipped must not have known faults either.
	for manifest in Cargo.toml fuzz/Cargo.toml bench/peers/Cargo.toml; do \
		$(CARGO) deny --manifest-path $$manifest --config deny.toml check advisories || exit; done

test:
	@scripts/need cc php phpunit php-fpm
	@scripts/need --wanted systemd cargo-deb
	$(CARGO) test --workspace
	@# The seeds of the fuzz targets, which are a workspace of their own.
	$(CARGO) test --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET)/fuzz --quiet
	JACKFIELD_NO_SKIPS=1 clients/php/run-tests.sh

soak:
	JACKFIELD_SOAK=1 $(CARGO) test --package jackfield-tests --test e2e -- --nocapture --test-threads 1 \
		reload::unloading::unloads reload::state_transfer::loses reload::under_load overload::floods wire::disconnects

# What no processor sees, where there is a nightly toolchain with Miri: the protocol, the ABI and, through the plugins' own
# tests, both of its sides. Without what counts allocations, and what takes an interpreter minutes for each test.
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || \
		{ echo "missing: miri; rustup component add miri rust-src --toolchain nightly" >&2; exit 1; }
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=2 CARGO_TARGET_DIR=$(TARGET)/miri $(CARGO) +nightly miri test \
		--package jackfield-protocol --package jackfield-plugin-api --package jackfield-plugin-device \
		--package jackfield-plugin-hello --package jackfield-plugin-journal --lib --tests -- \
		--skip allocation --skip depth_counts --skip nesting_does --skip every_vector --skip vectors:: --skip one_to_a

# The same without Miri, as far as a processor sees it.
memory:
	@scripts/need cc valgrind
	$(CARGO) --config "target.'cfg(unix)'.runner = 'valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite'" \
		test --package jackfield-plugin-api --lib

fuzz:
	@scripts/need c++ cargo-fuzz
	scripts/fuzz $(FUZZ_RUNS) $(abspath $(TARGET))/fuzz

# What it needs and is not there is installed or skipped; see bench/README.md.
bench: build
	@scripts/bench $(TARGET)

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

clean:
	$(CARGO) clean
	rm -f plugins/*.so
