#!/bin/bash
# All tests: first those that need nothing, then the virtual-machine suite. What this machine cannot run is named and
# counted as skipped; with REQUIRE_ALL=1 it is a failure. With TEST_UNTIL it ends soon after that, see tests/vm/run.sh.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
skipped=0

# The result lines of libtest, and of tests/vm/build.sh, are summed; tests ignored outside of the virtual machine ran
# inside it.
sum() { sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" "$log" | awk "{ n += \$1 } END { print n + 0 }"; }

# stage NAME COMMAND...: one that fails and names no test that did (a machine was lost, a script ended early) counts as
# one failed, and is named at the end.
lost=()
stage() {
    local name=$1 before status
    shift
    before=$(sum failed)
    "$@" 2>&1 | tee -a "$log"
    status=${PIPESTATUS[0]}
    ((status != 0)) || return 0
    failed=1
    (($(sum failed) > before)) || lost+=("$name ended with status $status")
}

# Programs are built before tests run, so that a compile error is not mistaken for a failing test.
cargo test --locked --no-run || exit 1
stage "cargo test" cargo test --locked --no-fail-fast

# And with the daemon as two processes, as it is installed; `make soak` does so in the virtual machine too.
stage "the edge on two processes" env LVM_AUTOSCALER_SPLIT=1 \
    cargo test --locked --no-fail-fast --test edge -- access:: cli:: commands:: http:: policies:: storm:: unmatched::

stage "notifications" tests/tell.sh
stage "the status page" tests/browser.sh
# Real Alertmanagers and a fleet in network namespaces; it says itself what this machine cannot do.
stage "fleets" tests/fleet.sh
skipped=$((skipped + $(grep -cE '^SKIPPED: (notifications|the status page|fleets)' "$log" || true)))

# Last, for on a slow machine it leaves tests out, see TEST_UNTIL there.
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    for scene in growths supply; do stage "power cuts ($scene)" tests/vm/cuts.sh "$scene" 2; done
    stage "the virtual-machine suite" tests/vm/run.sh
else
    echo "SKIPPED: the virtual-machine suite (it needs root and apt)"
    skipped=$((skipped + 1))
fi

passed=$(sum passed)
broken=$(($(sum failed) + ${#lost[@]}))
left=$(grep -c '^test .* \.\.\. left out' "$log" || true)

# Where the time goes: programs of tests, and the tests in the virtual machine, each with its seconds.
echo "the slowest ten:"
awk '/^ *Running / { name = $2 == "unittests" ? $3 : $2 }
    /^test result: .*finished in/ { seconds = $NF; sub(/s$/, "", seconds); print seconds, name }
    /^test .* \.\.\. (ok|FAILED), [0-9.]+ s$/ { print $(NF - 1), "vm " $2 }' "$log" | sort -rn | head -n 10 | sed 's/^/  /'
((${#lost[@]} == 0)) || printf 'FAILED: %s\n' "${lost[@]}"
echo "${passed:-0} passed, ${broken:-0} failed, $skipped skipped, $left left out because the time was over"
[[ -z ${REQUIRE_ALL:-} ]] || ((skipped == 0)) || { echo "REQUIRE_ALL is set and something was skipped"; failed=1; }
exit "$failed"
