# shellcheck shell=bash
disk first 200M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 100M -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
daemon "monitor: { targets: [] }"
dmsetup suspend drill_vg-data
until_true 60 "the metrics" metric_is 'lvm_lv_suspended{vg="drill_vg",lv="data"}' 1
follow troubleshooting.md suspended-see
follow troubleshooting.md suspended-mend
[[ $(dmsetup info -c --noheadings -o suspended drill_vg-data) == Active ]] || fail "it is still suspended"
until_true 60 "the metrics" metric_is 'lvm_lv_suspended{vg="drill_vg",lv="data"}' 0
