#!/bin/bash
# The whole suite on the other Debian releases, with their LVM, e2fsprogs, xfsprogs and util-linux (their kernel:
# README.md).
#
#   versions.sh [--suite SUITE]... [FILTER or argument of the test program...]
#
# Without SUITE on bullseye and trixie; make test runs bookworm.
set -uo pipefail
cd "$(dirname "$0")/../.."
suites=()
while [[ ${1:-} == --suite ]]; do
    suites+=("$2")
    shift 2
done
((${#suites[@]})) || suites=(bullseye trixie)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0 figures=
for suite in "${suites[@]}"; do
    echo "versions: $suite"
    tests/vm/run.sh --suite "$suite" --timeout 3600 "$@" 2>&1 | tee "$log"
    ((PIPESTATUS[0] == 0)) || failed=1
    figures+=", $suite $(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed.*/\1 passed \2 failed/p' "$log")"
done
echo "figures: ${figures#, }"
exit "$failed"
