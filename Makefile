# Two commands do everything: `make run` and `make test`.

CARGO ?= cargo
PLUGINS := device hello journal
CONFIG ?= config.toml
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run test build lint clean help

help:
	@echo "make run    build, put the example plugins into plugins/, serve, and show a request answered"
	@echo "make test   all tests"
	@echo "make lint   formatting and lints, warnings are errors"

build:
	@scripts/need cc
	$(CARGO) build --release --package jackfield $(PLUGINS:%=--package jackfield-plugin-%)

run: build
	@scripts/install-plugins $(TARGET)/release plugins $(PLUGINS)
	@scripts/run $(TARGET)/release/jackfield $(CONFIG) plugins

test:
	@scripts/need cc php phpunit php-fpm
	$(CARGO) test --workspace
	JACKFIELD_NO_SKIPS=1 clients/php/run-tests.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

clean:
	$(CARGO) clean
	rm -f plugins/*.so
