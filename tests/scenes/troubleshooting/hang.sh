# shellcheck shell=bash
disk first 200M
disk second 200M
fragile second first
export good=$first
vgcreate -q drill_vg "$first" /dev/mapper/drill_disk
lvcreate -q -y -L 40M -n data drill_vg "$first"
export inventory='interval: 2s, timeout: 8s'
daemon "monitor: { targets: [] }"
until_true 60 "a look at LVM" metric_is lvm_up 1
trap 'dmsetup resume drill_disk; cleanup' EXIT
dmsetup suspend --noflush drill_disk
lvs drill_vg >/dev/null 2>&1 &
waiting=$!
until_true 60 "the metrics" metric_is lvm_up 0
say "lvs hangs; the daemon still answers: lvm_up 0, and shows what it saw last"
seen '^lvm_vg_free_bytes\{vg="drill_vg"' || fail "the last good inventory is not shown"
kill -0 "$waiting" || fail "lvs does not wait"
follow troubleshooting.md hang-see
follow troubleshooting.md hang-mend
wait "$waiting" || fail "the first lvs failed"
until_true 60 "the metrics" metric_is lvm_up 1
