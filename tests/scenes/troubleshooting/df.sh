# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 100M -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
mount /dev/drill_vg/data "$work/data"
daemon "monitor: { targets: [] }"
before=$(fs_bytes "$work/data")
lvextend -q -L +100M drill_vg/data
[[ $(fs_bytes "$work/data") == "$before" ]] || fail "df shows more already"
growable() { awk -v b="$(metric 'lvm_filesystem_growable_bytes' || echo 0)" 'BEGIN { exit !(b > 50000000) }'; }
until_true 60 "lvm_filesystem_growable_bytes" growable
say "shown: lvm_filesystem_growable_bytes $(metric lvm_filesystem_growable_bytes)"
follow troubleshooting.md df-see
follow troubleshooting.md df-mend
fs_grew "$work/data" "$before" || fail "it did not grow"
