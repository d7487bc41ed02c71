#!/bin/bash
# The long proofs, one section each, and a table of what they showed. SOAK=name (or several, with blanks) runs only
# those; the exit code is not 0 if any failed.
#
# To add one: a line `section NAME COMMAND...` below, in the order of their duration, and nothing else. The command
#   - runs in the project's folder, non-interactively, and does its own set-up,
#   - exits with 0 only if everything held,
#   - prints what goes into the table as lines that begin with `figures: `, and with `SKIPPED: ` why it could not run
#     here (with REQUIRE_ALL=1 that is a failure),
#   - prints the seed of whatever is random, and can be given it again.
# A Rust test that is longer here than in `make test` looks at the variable SOAK (see tests/common/part.rs), which is
# set for all sections. What a section prints is kept in target/soak/NAME.log.
set -uo pipefail
cd "$(dirname "$0")/.."

wanted=${SOAK:-}
export SOAK=1
logs=$(realpath -m "${CARGO_TARGET_DIR:-target}")/soak
mkdir -p "$logs"
table=()
failed=0
known=

section() {
    local name=$1 log=$logs/$1.log begun=$SECONDS result=passed figures
    shift
    known="$known $name"
    [[ -z $wanted || " $wanted " == *" $name "* ]] || return 0
    echo "== $name: $*"
    if ! "$@" > "$log" 2>&1 < /dev/null; then
        result=FAILED
        tail -n 60 "$log"
    elif grep -q '^SKIPPED: ' "$log"; then
        result=skipped
        [[ -z ${REQUIRE_ALL:-} ]] || result=FAILED
    fi
    [[ $result != FAILED ]] || failed=1
    figures=$(sed -nE 's/^(figures|SKIPPED): //p' "$log" | paste -sd';' | sed 's/;/; /g')
    echo "   $result after $((SECONDS - begun)) s: ${figures:-see $log}"
    table+=("$(printf '%-12s %-8s %6d s  %s' "$name" "$result" $((SECONDS - begun)) "$figures")")
}

# tests_of PROGRAM FILTER...: of a test program, those whose names hold one of the filters.
tests_of() { cargo test --locked --test "$1" -- "${@:2}"; }

# Built first, so that a compile error is not taken for a proof that failed.
cargo test --locked --no-run --quiet || exit 1

# On the simulated host: whatever happens in whatever order.
section schedules tests_of engine schedules::
# The daemon dies before, during and after every command, and at every byte it writes; and people go on meanwhile. These
# and the next two sections take half a minute each, so that `make test` runs them whole too.
section crashes tests_of engine crash:: recovery::
# Every command of every kind of plan fails, hangs, lies, runs twice.
section faults tests_of engine faults:: kinds::
section journal tests_of engine journal:: format::
# All attacks at once for two minutes, and a storm of honest alerts.
section attacks tests_of attack together --nocapture
# The daemon killed under load 100 times, and the alerts that it had accepted looked for afterwards.
section storm tests_of edge storm::what_was_answered --nocapture
# The web process killed 100 times in a storm; and a web process that was taken over, with a million messages.
section web tests_of edge storm::a_web_process --nocapture
section wire tests_of edge wire::

# The virtual-machine suite with the daemon as two processes.
section split env LVM_AUTOSCALER_SPLIT=1 tests/vm/run.sh

# The services of the packages with all that their units allow and forbid, on each kind of layer.
section unit env LVM_AUTOSCALER_UNIT=1 tests/vm/run.sh --systemd grow::one_alert luks::luks decisions::the_legs_of_a_raid \
    decisions::a_thin_volume_grows surroundings::a_btrfs_grows supply::the_partition_grows_first
section demo env LVM_AUTOSCALER_UNIT=1 tests/vm/demo.sh

# In the virtual machine: the daemon killed 50 times, the power cut until each step was hit twice on each file system.
section kills tests/vm/run.sh --timeout 3000 kills::
section cuts tests/vm/cuts.sh
# The same in growths for which disks, partitions, spares and LUKS have to give what they have.
section supply tests/vm/cuts.sh supply 100
# The power cut and the disks' caches lost with it, 25 times on each of two layouts; and five targets that grow 20 times
# each while another administrator and the daemon's misfortunes go on.
section caches tests/vm/run.sh --memory 4G --timeout 5400 caches::
section load tests/vm/run.sh --memory 5G --timeout 7200 load::
# Each trouble once, with a real Prometheus and Alertmanager: what people get of it. And a day without any.
section troubles tests/vm/run.sh --timeout 7200 troubles

# Every kind of file system on every layout, beside the same done by hand.
section matrix tests/vm/run.sh --timeout 7200 matrix::

# The documents, as a person would follow them.
section drills tests/scenes/run.sh drills
section manual tests/scenes/run.sh troubleshooting
section install tests/vm/install.sh

# What docs/lvm/tuning.md claims about layouts, measured again; writes its tables.
section tuning tests/bench/layouts.sh

# What is given to users: the same bytes wherever it is built. And on the LVM of other releases than that of
# `make test`.
section package packaging/reproduce.sh
section versions tests/vm/versions.sh

# What the tests do not notice: changes of the code, one at a time.
section mutants tests/mutants.sh

# Bytes of strangers, with libFuzzer: so many seconds for each target.
section fuzz fuzz/run.sh 120

for name in $wanted; do
    [[ " $known " == *" $name "* ]] || { echo "there is no section $name, there are:$known"; failed=1; }
done
printf '\n%-12s %-8s %8s  %s\n' section result took figures
((${#table[@]} == 0)) || printf '%s\n' "${table[@]}"
exit "$failed"
