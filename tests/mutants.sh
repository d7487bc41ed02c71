#!/bin/bash
# Changes the code in one place at a time (cargo-mutants) and looks whether `make quick` notices: a sample of the
# changes that there are in what looks, decides, records and acts. A section of `make soak`.
#
#   MUTANTS=80            so many of them
#   MUTANTS_MINUTES=90    and no longer than that; how many were not reached is said
#   MUTANTS_SEED=n        the same sample again
#
# In plan/ and journal/ each change must be noticed, in all four folders 97 of 100. What was not is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
.ci/tool cargo-mutants 27.1.0

wanted=${MUTANTS:-80}
minutes=${MUTANTS_MINUTES:-90}
seed=${MUTANTS_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "MUTANTS_SEED=$seed"

# Its own folder: the next run finds the dependencies built.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
# Without debug information a change is built in half of the time; nobody reads a backtrace here.
export CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=none
mkdir -p "$CARGO_TARGET_DIR"
report=$CARGO_TARGET_DIR/mutants.out
rm -rf "$report"

files=()
for folder in plan journal engine inventory; do files+=(--file "src/$folder/**"); done
# Each n-th of all, from a place that the seed decides.
all=$(cargo mutants --list "${files[@]}" | wc -l)
((all > wanted)) || { echo "only $all changes were found"; exit 1; }
parts=$((all / wanted))
sample=(--sharding round-robin --shard "$((seed % parts))/$parts")
wanted=$(cargo mutants --list "${files[@]}" "${sample[@]}" | wc -l)

# The first run is without a change: a test that fails by itself would seem to notice each of them. 124 is the end of
# the time, 2 and 3 are changes that were not noticed and tests that took too long, which are counted below.
status=0
timeout --signal=INT --kill-after=60 "${minutes}m" \
    cargo mutants --output "$CARGO_TARGET_DIR" --colors never "${files[@]}" "${sample[@]}" -- --locked --lib --test engine --test shipped || status=$?
case $status in 0 | 2 | 3 | 124 | 130) ;; *) exit "$status" ;; esac

of() { grep -c . "$report/$1.txt" || true; }
caught=$(($(of caught) + $(of timeout)))
missed=$(of missed)
tried=$((caught + missed))
echo "figures: of $tried changes $caught were noticed ($(of timeout) by a test that did not end), $missed were not; $(of unviable) did not compile, $((wanted - tried - $(of unviable))) were not reached (MUTANTS_SEED=$seed)"
sed 's/^/not noticed: /' "$report/missed.txt"
((tried > 0)) || { echo "nothing was tried"; exit 1; }
! grep -qE '^src/(plan|journal)/' "$report/missed.txt" || { echo "a change in plan/ or journal/ was not noticed"; exit 1; }
((caught * 100 >= tried * 97)) || { echo "fewer than 97 of 100 were noticed"; exit 1; }
