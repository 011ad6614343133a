# Two commands do everything: `make run` and `make test`.

CARGO ?= cargo
PLUGINS := device hello journal
CONFIG ?= config.toml
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run test soak build lint clean help

help:
	@echo "make run    build, put the example plugins into plugins/, serve, and show a request answered"
	@echo "make test   all tests"
	@echo "make soak   the long runs: 10,000 reloads, 2,000,000 requests"
	@echo "make lint   formatting and lints, warnings are errors"

build:
	$(CARGO) build --release --package jackfield $(PLUGINS:%=--package jackfield-plugin-%)

run: build
	@scripts/install-plugins $(TARGET)/release plugins $(PLUGINS)
	@scripts/run $(TARGET)/release/jackfield $(CONFIG)

test:
	@scripts/need cc php phpunit php-fpm
	$(CARGO) test --workspace
	clients/php/run-tests.sh

soak:
	JACKFIELD_SOAK=1 $(CARGO) test --package jackfield-tests --test e2e -- --nocapture --test-threads 1 \
		reload::unloading::code_that reload::state::no_update reload::proof

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

clean:
	$(CARGO) clean
	rm -f plugins/*.so
