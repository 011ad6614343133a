#!/bin/sh
# Builds the scripted server and the host, and runs all tests of the PHP client against them.
#
#   JACKFIELD_BIN              use this host program instead of building one; its plugins are in the same
#                              directory or in JACKFIELD_PLUGINS
#   JACKFIELD_SCRIPTED_SERVER  use this scripted server instead of building one
#   JACKFIELD_NO_SKIPS=1       fail if a test is skipped; only a missing php-fpm skips tests
#
# Arguments are passed to phpunit, for example --filter Persistent.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
    echo "run-tests.sh: $1 (apt-get install php-cli php-fpm phpunit php-psr-log)" >&2
    exit 69
}

absolute() {
    case $1 in
        /*) echo "$1" ;;
        *) echo "$PWD/$1" ;;
    esac
}

for program in php phpunit; do
    command -v "$program" >/dev/null || fail "$program is not installed"
done
for extension in pcntl posix; do
    php -r "exit((int) !extension_loaded('$extension'));" || fail "the tests need the PHP extension $extension"
done

# Build the programs that the environment does not name.
packages=
[ -n "${JACKFIELD_SCRIPTED_SERVER:-}" ] || packages="--package scripted-server"
[ -n "${JACKFIELD_BIN:-}" ] ||
    packages="$packages --no-default-features --features jackfield/cli --package jackfield --package jackfield-plugin-device --package jackfield-plugin-journal"
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of arguments
    "${CARGO:-cargo}" build --quiet --profile quick --manifest-path "$root/Cargo.toml" $packages
fi

built=$(absolute "${CARGO_TARGET_DIR:-$root/target}")/quick
JACKFIELD_SCRIPTED_SERVER=$(absolute "${JACKFIELD_SCRIPTED_SERVER:-$built/scripted-server}")
JACKFIELD_BIN=$(absolute "${JACKFIELD_BIN:-$built/jackfield}")
export JACKFIELD_SCRIPTED_SERVER JACKFIELD_BIN
if [ -n "${JACKFIELD_PLUGINS:-}" ]; then
    JACKFIELD_PLUGINS=$(absolute "$JACKFIELD_PLUGINS")
    export JACKFIELD_PLUGINS
fi

# One test opens more files than the 1,024 descriptors that select(2) accepts.
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 2048 ] || ulimit -n 2048

[ "${JACKFIELD_NO_SKIPS:-0}" = 0 ] || set -- --fail-on-skipped "$@"
cd "$here"
# With default signal dispositions, because a shell ignores some signals in what a script starts in
# the background, and everything that the tests start would inherit that.
exec env --default-signal phpunit --configuration phpunit.xml.dist "$@"
