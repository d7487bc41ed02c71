# shellcheck shell=bash
disk first 400M
disk second 400M
disk third 600M
fragile second first third
vgcreate -q drill_vg "$first" /dev/mapper/drill_disk
lvcreate -q -y --type raid1 -m 1 -L 200M -n data drill_vg
until_true 60 "the mirror is in sync" sh -c '[ "$(lvs --noheadings -o copy_percent drill_vg/data | tr -d " ")" = 100.00 ]'
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
mount /dev/drill_vg/data "$work/data"
precious "$work/data"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB }] }"
before=$(lv_bytes drill_vg/data)
dmsetup suspend --noflush drill_disk
dmsetup reload drill_disk --table "0 $(blockdev --getsz "$second") error"
dmsetup resume drill_disk
dd if=/dev/zero of="$work/data/write" bs=64K count=4 conv=fsync status=none || true
say "one disk under the RAID1 was lost"
until_true 90 "the loss in the metrics"  seen '^lvm_(vg_missing_pv_count.* 1|lv_healthy\{.*data.*\} 0)(\.0)?$'
curl -s http://127.0.0.1:19845/metrics | grep -E '^lvm_(vg_missing_pv_count|lv_healthy)\{' | sed 's/^/      /'
fill "$work/data" 88
alert drill_vg/data
until_true 60 "a refusal" seen 'refusals_total.*(vg_partial|lv_unhealthy|lv_busy)'
! grew drill_vg/data "$before" || fail "it grew on one leg"
intact "$work/data"
export new_disk=$third
say "by hand:"
follow drills.md lost-leg
until_true 120 "both legs in sync" sh -c '[ "$(lvs --noheadings -o copy_percent drill_vg/data | tr -d " ")" = 100.00 ]'
dmsetup remove -f drill_disk || true
alert drill_vg/data
until_true 90 "growth on both legs" grew drill_vg/data "$before"
say "with two legs again it grew, from $before to $(lv_bytes drill_vg/data) bytes"
intact "$work/data"
