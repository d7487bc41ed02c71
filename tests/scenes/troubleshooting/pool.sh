# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y --type thin-pool -L 60M -n pool drill_vg
lvchange -q --errorwhenfull y drill_vg/pool
lvcreate -q -y -T drill_vg/pool -V 200M -n data
daemon "monitor: { targets: [] }"
dd if=/dev/urandom of=/dev/drill_vg/data bs=1M count=80 oflag=direct status=none 2>/dev/null && fail "the pool is not full"
full() { awk -v p="$(metric 'lvm_lv_data_percent{vg="drill_vg",lv="pool"}' || echo 0)" 'BEGIN { exit !(p > 99) }'; }
until_true 60 "the metrics" full
follow troubleshooting.md pool-see
follow troubleshooting.md pool-mend
dd if=/dev/urandom of=/dev/drill_vg/data bs=1M count=80 oflag=direct status=none || fail "it cannot be written to"
sum=$(sha256sum </dev/drill_vg/data)
follow troubleshooting.md pool-repair
[[ $(sha256sum </dev/drill_vg/data) == "$sum" ]] || fail "the data changed"
