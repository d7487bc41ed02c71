# shellcheck shell=bash
disk first 200M
disk second 200M
fragile second first
export disk=/dev/mapper/drill_disk
vgcreate -q drill_vg "$first" "$disk"
lvcreate -q -y -l 80 -i 2 -n data drill_vg
daemon "monitor: { targets: [] }"
vgchange -q -an drill_vg
dmsetup remove drill_disk
until_true 60 "the metrics" metric_is 'lvm_vg_missing_pv_count{vg="drill_vg"}' 1
follow troubleshooting.md missing-see
say "the disk comes back"
dmsetup create drill_disk --table "0 $(blockdev --getsz "$second") linear $second 0"
pvscan --cache "$disk" >/dev/null
follow troubleshooting.md missing-mend
[[ $(vgs --noheadings -o vg_missing_pv_count drill_vg | tr -d ' ') == 0 ]] || fail "it is still missing"
until_true 60 "the metrics" metric_is 'lvm_vg_missing_pv_count{vg="drill_vg"}' 0
