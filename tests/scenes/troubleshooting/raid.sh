# shellcheck shell=bash
disk first 400M
disk second 400M
fragile second first
vgcreate -q drill_vg "$first" /dev/mapper/drill_disk
lvcreate -q -y --type raid1 -m 1 -L 100M -n data drill_vg
in_sync() { [[ $(lvs --noheadings -o copy_percent drill_vg/data | tr -d ' ') == 100.00 ]]; }
healthy() { in_sync && [[ -z $(lvs --noheadings -o lv_health_status drill_vg/data | tr -d ' ') ]]; }
until_true 60 "the legs are in sync" in_sync
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
mount /dev/drill_vg/data "$work/data"
precious "$work/data"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB }] }"
table() {
    dmsetup suspend --noflush drill_disk
    dmsetup reload drill_disk --table "0 $(blockdev --getsz "$second") $1"
    dmsetup resume drill_disk
}
table error
dd if=/dev/zero of="$work/data/write" bs=64K count=4 conv=fsync status=none
until_true 60 "the metrics" seen '^lvm_(vg_missing_pv_count.* 1|lv_healthy\{.*data.*\} 0)(\.0)?$'
say "one leg was lost, and comes back"
table "linear $second 0"
pvscan --cache /dev/mapper/drill_disk >/dev/null
follow troubleshooting.md raid-see
until_true 60 "the health in the metrics" seen '^lvm_lv_healthy\{.*data.*\} 0(\.0)?$'
alert drill_vg/data
until_true 60 "a refusal" seen 'refusals_total.*(vg_partial|lv_unhealthy|lv_busy|below_threshold)'
follow troubleshooting.md raid-mend
until_true 120 "both legs in sync again" healthy
until_true 60 "the metrics" seen '^lvm_lv_healthy\{.*data.*\} 1(\.0)?$'
intact "$work/data"
