#!/bin/bash
# Fuzzes for so many seconds per target: fuzz/run.sh [SECONDS] [TARGET...]
#
# Begins with the seeds in fuzz/corpus and goes on with what earlier runs found, which is kept in target/fuzz-corpus.
# Fails with the input's path on the first crash, input that takes more than 20 s or 2 GiB; the same input again:
# fuzz/run.sh 0 TARGET, after it was copied to fuzz/corpus/TARGET, where it then stays.
# FUZZ_SANITIZER=address needs a nightly toolchain. Without a sanitizer the project's own does; there is no unsafe code
# here.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
sanitizer=${FUZZ_SANITIZER:-none}
toolchain=()
[[ $sanitizer == none ]] || toolchain=(+nightly)
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

.ci/tool cargo-fuzz 0.13.2
# libFuzzer is C++.
if ! command -v c++ > /dev/null; then
    if [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends g++
    else
        echo "SKIPPED: fuzzing needs a C++ compiler (apt-get install g++)"
        exit
    fi
fi

fuzz() { cargo "${toolchain[@]}" fuzz "$1" --sanitizer "$sanitizer" --target-dir "$target/fuzz" "${@:2}"; }

fuzz build
mapfile -t targets < <(if (($# > 0)); then printf '%s\n' "$@"; else cargo fuzz list; fi)
executions=0
for name in "${targets[@]}"; do
    found=$target/fuzz-corpus/$name crashes=$target/fuzz-crashes/$name/ log=$target/fuzz-$name.log
    mkdir -p "$found" "$crashes"
    # 0 s would be without end: then only what is there is run.
    limit=-max_total_time=$seconds
    ((seconds > 0)) || limit=-runs=0
    echo "== $name"
    if ! fuzz run "$name" "$found" "fuzz/corpus/$name" -- "$limit" -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 "-artifact_prefix=$crashes" > "$log" 2>&1; then
        tail -n 40 "$log"
        echo "figures: $name crashed"
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        echo "$name does not hold for the input ${input:-of which nothing was written}"
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$runs executions"
    executions=$((executions + runs))
done
echo "figures: ${#targets[@]} targets, $executions executions, no crash"
