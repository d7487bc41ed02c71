#!/bin/bash
# Builds the daemon and the tests of tests/vm and runs them in the virtual machine; exits with the tests' status.
#
#   run.sh [--systemd] [--suite SUITE] [--timeout SECONDS] [FILTER or argument of the test program...]
#
# Linked statically, so that what this machine builds runs on the C library of any Debian release.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

options=(--timeout 3600)
# Of one test, in seconds: several times what the slowest takes on a busy machine, emulated.
DEADLINE=900
if [[ ${1:-} == --systemd ]]; then options+=("$1") && shift; fi
while [[ ${1:-} == --suite || ${1:-} == --timeout || ${1:-} == --memory ]]; do
    options+=("$1" "$2")
    shift 2
done

# shellcheck source=tests/vm/build.sh
. "$here/build.sh"
build_share vm
# What long tests look at, see tests/common/part.rs.
variables=()
for name in SOAK KILLS_SEED MATRIX_SEED MATRIX_ROW LOAD_SEED LOAD_ONLY CACHES_SEED LVM_AUTOSCALER_SPLIT LVM_AUTOSCALER_UNIT; do
    [[ -z ${!name:-} ]] || variables+=("$name=${!name}")
done

# in_machine ARGUMENT...: the test program with these arguments in a machine.
in_machine() {
    "$here/rig.sh" run "${options[@]}" "$share" env "${variables[@]}" ./start vm --ignored --test-threads="${VM_TEST_THREADS:-1}" "$@"
}
(($# == 0)) || { in_machine "$@"; exit; }

# All of them: every second test in a machine of its own, for one machine keeps little more than one of two processors
# busy. Each line is passed on when it is whole. With LVM_AUTOSCALER_SPLIT=1 the daemon is two processes in all of them,
# as it is installed. Four of the proofs take a quarter of an hour and more: they are sections of `make soak` alone. The
# shipped rules need the Prometheus 2.42 of Debian 12.
excluded='^caches::\|^load::\|^matrix::\|^troubles_more::'
[[ " ${options[*]} " != *" bullseye "* ]] || excluded+='\|^troubles::'
mapfile -t tests < <("$share/vm" --list --ignored --format terse | sed -n 's/: test$//p' | grep -v "$excluded")
((${#tests[@]} > 1)) || { echo "run.sh: the test program lists no tests" >&2; exit 1; }

# With TEST_UNTIL, in seconds since 1970, the tests that are not in one of these modules begin only before that. So that
# a machine which is always too slow for all of them leaves out others each day, they begin with another one.
ALWAYS='^(crash|endings|failure|grow|journal|luks|record|refuse|supply)::'
mapfile -t first < <(printf '%s\n' "${tests[@]}" | grep -E "$ALWAYS")
mapfile -t rest < <(printf '%s\n' "${tests[@]}" | grep -vE "$ALWAYS")
day=$(($(date +%s) / 86400))
from=$((day * 29 % ${#rest[@]}))
rest=("${rest[@]:from}" "${rest[@]:0:from}")
seconds=1000000
[[ -z ${TEST_UNTIL:-} ]] || seconds=$((TEST_UNTIL - EPOCHSECONDS))
# every_second N TEST...
every_second() {
    local number=$1 index
    shift
    for ((index = number + 1; index <= $#; index += 2)); do echo "${!index}"; done
}
# Passes each line on when it is whole. A machine that was lost before its last line counts as one that failed.
whole() {
    local said
    said=$(mktemp)
    grep --line-buffered '' | tee "$said"
    grep -q '^test result: ' "$said" ||
        echo "test result: FAILED. 0 passed; 1 failed; 0 ignored; machine $1 ended before its tests"
    rm "$said"
}
shard() {
    local names
    mapfile -t names < <(every_second "$1" "${first[@]}" && echo -- && every_second "$1" "${rest[@]}")
    "$here/rig.sh" run "${options[@]}" "$share" env "${variables[@]}" ./each "$DEADLINE" "$seconds" "${names[@]}" 2>&1 | whole "$1"
    return "${PIPESTATUS[0]}"
}
shard 0 &
beside=$!
failed=0
shard 1 || failed=$?
wait "$beside" || failed=$?
exit "$failed"
