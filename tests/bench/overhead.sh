#!/bin/bash
# What `make bench` runs after run.sh: the whole pipeline beside the bare commands, in the virtual machine. Prints a table;
# fails if the pipeline takes more than 1.5 times as long.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "SKIPPED: the overhead benchmark (it needs root and apt)"
    exit 0
fi
# shellcheck source=tests/vm/build.sh
. tests/vm/build.sh
build_share overhead --release
status=0
table=$(tests/vm/rig.sh run --timeout 1800 "$share" ./start overhead) || status=$?
echo "$table"
grep -q '^figures: ' <<<"$table" || exit 1

page=docs/performance.md
scrape=$(sed '/^## An operation/,$d' "$page")
echo "$scrape" >"$page"
cat >>"$page" <<PAGE

## An operation

From an alert to the last record of the journal, beside the same growth of an equal volume by hand, by turns in the same
virtual machine; medians. \`make bench\` measures it and fails above a ratio of 1.5.

$(grep '^|' <<<"$table")

LVM is asked once, before the decision. Whether a step reached its goal is seen from what the kernel shows, and LVM
is asked again only where that does not show it. Debian 12, LVM 2.03.16, two emulated cores: everything takes several times
as long as on a real machine, programs more than waiting for a disk.
PAGE
exit "$status"
