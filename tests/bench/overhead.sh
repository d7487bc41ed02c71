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
load=$(cut -d ' ' -f 1-3 /proc/loadavg)
grep -q '^figures: ' <<<"$table" || exit 1

page=docs/performance.md
scrape=$(sed '/^## An operation/,$d' "$page")
echo "$scrape" >"$page"
cat >>"$page" <<PAGE

## An operation

From an alert to the last record of the journal, beside the same growth of an equal volume by hand, by turns in the same
virtual machine; medians. \`make bench\` measures it and fails above a ratio of 1.5.

$(grep '^|' <<<"$table")

What the daemon does that a hand does not: it has LVM report once, before the decision, with \`blkid\` beside it, writes ten records to
disk, and sees after each step from what the kernel shows whether its goal is reached; LVM is asked again only where that does not
show it. The one look is most of the rest and stays: it is what tells whether growing is right at all. Nor would a smaller one be much
shorter: seven eighths of it are what \`lvm vgs -o vg_name\` takes, LVM's start.

Its commands cost what they cost by hand as long as lvm.conf says what they would say with \`--config\` (the daemon finds out and
looks at the files before each command); with that option LVM reads its configuration twice, a fifth to a third of a command.
Debian 12, LVM 2.03.16, two emulated cores, load average of the machine below them $load: everything takes several times as
long as on a real machine, programs more than waiting for a disk.
PAGE
exit "$status"
