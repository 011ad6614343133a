#!/bin/sh
# Runs all tests of the PHP client. Builds the scripted server unless JACKFIELD_SCRIPTED_SERVER names one.
# The tests against the real host run when JACKFIELD_BIN names its program; they say so when they are skipped.
# Arguments go to phpunit, e.g. --filter Persistent.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

for program in php phpunit; do
    command -v "$program" >/dev/null || { echo "run-tests.sh: no $program; apt-get install php-cli php-fpm phpunit php-psr-log" >&2; exit 69; }
done

if [ -z "${JACKFIELD_SCRIPTED_SERVER:-}" ]; then
    cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p scripted-server
    JACKFIELD_SCRIPTED_SERVER=${CARGO_TARGET_DIR:-$root/target}/release/scripted-server
fi
export JACKFIELD_SCRIPTED_SERVER

cd "$here"
exec phpunit --configuration phpunit.xml.dist "$@"
