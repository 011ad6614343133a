#!/bin/sh
# Runs all tests of the PHP client, against the scripted server and against a real host, and builds both first.
#
#   JACKFIELD_BIN              a host's program instead of one built here; its plugins lie beside it, or in
#                              JACKFIELD_PLUGINS
#   JACKFIELD_SCRIPTED_SERVER  a scripted server instead of one built here
#   JACKFIELD_NO_SKIPS=1       a test that is skipped, which only a missing php-fpm does, counts as failed
#
# Arguments go to phpunit, e.g. --filter Persistent.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
    echo "run-tests.sh: $1; apt-get install php-cli php-fpm phpunit php-psr-log" >&2
    exit 69
}
for program in php phpunit; do
    command -v "$program" >/dev/null || fail "no $program"
done
for extension in pcntl posix; do
    php -r "exit((int) !extension_loaded('$extension'));" || fail "php has no $extension, which the tests need"
done

packages=
[ -n "${JACKFIELD_SCRIPTED_SERVER:-}" ] || packages="--package scripted-server"
[ -n "${JACKFIELD_BIN:-}" ] ||
    packages="$packages --package jackfield --package jackfield-plugin-device --package jackfield-plugin-journal"
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of arguments
    "${CARGO:-cargo}" build --quiet --release --manifest-path "$root/Cargo.toml" $packages
fi
absolute() {
    case $1 in
        /*) echo "$1" ;;
        *) echo "$PWD/$1" ;;
    esac
}
built=$(absolute "${CARGO_TARGET_DIR:-$root/target}")/release
JACKFIELD_SCRIPTED_SERVER=$(absolute "${JACKFIELD_SCRIPTED_SERVER:-$built/scripted-server}")
JACKFIELD_BIN=$(absolute "${JACKFIELD_BIN:-$built/jackfield}")
export JACKFIELD_SCRIPTED_SERVER JACKFIELD_BIN
if [ -n "${JACKFIELD_PLUGINS:-}" ]; then
    JACKFIELD_PLUGINS=$(absolute "$JACKFIELD_PLUGINS")
    export JACKFIELD_PLUGINS
fi

# One test opens more files than select(2) can wait for.
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 2048 ] || ulimit -n 2048
[ "${JACKFIELD_NO_SKIPS:-0}" = 0 ] || set -- --fail-on-skipped "$@"
cd "$here"
exec phpunit --configuration phpunit.xml.dist "$@"
