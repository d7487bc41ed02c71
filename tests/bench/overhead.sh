#!/bin/bash
# What `make bench` runs after run.sh: the whole pipeline beside the bare commands, in the virtual machine. Prints a
# table; fails if the pipeline takes more than 1.5 times as long.
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

The time from an alert to the last record of the journal, compared with the same growth of an equal volume by hand, in turns in the same
virtual machine; medians. \`make bench\` measures it and fails above a ratio of 1.5.

$(grep '^|' <<<"$table")

The daemon does three things that are not done by hand. Before the decision it runs one LVM report, and \`blkid\` beside it. It writes ten records to
disk. After each step it checks in the kernel's view whether the goal is reached, and runs another report only if that does not
show it. The first report is most of *the rest*. It cannot be left out, because the decision depends on it, and a smaller one would hardly be
faster: seven eighths of its time are the start of LVM, as \`lvm vgs -o vg_name\` shows.

The daemon's commands take as long as by hand if lvm.conf already has the settings that they would set with \`--config\`, which the daemon checks before
each command. With that option LVM reads its configuration twice, which takes a fifth to a third of a command.
Debian 12, LVM 2.03.16, two emulated cores, load average of the machine below them $load: all times are several times as
long as on a real machine, those of programs more than those of disks.
PAGE
exit "$status"
