#!/bin/bash
# Builds the daemon and the tests of tests/vm and runs them in the virtual machine; exits with the tests' status.
#
#   run.sh [--suite SUITE] [--timeout SECONDS] [FILTER or argument of the test program...]
#
# Linked statically, so that what this machine builds runs on the C library of any Debian release.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

options=(--timeout 1800)
while [[ ${1:-} == --suite || ${1:-} == --timeout || ${1:-} == --memory ]]; do
    options+=("$1" "$2")
    shift 2
done

# shellcheck source=tests/vm/build.sh
. "$here/build.sh"
build_share vm
# What long tests look at, see tests/common/part.rs.
variables=()
for name in SOAK KILLS_SEED; do
    [[ -z ${!name:-} ]] || variables+=("$name=${!name}")
done
exec "$here/rig.sh" run "${options[@]}" "$share" env "${variables[@]}" ./start vm --ignored --test-threads="${VM_TEST_THREADS:-1}" "$@"
