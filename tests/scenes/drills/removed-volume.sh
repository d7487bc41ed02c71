# shellcheck shell=bash
disk first 600M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 200M -n data drill_vg
lvcreate -q -y -L 100M -n other drill_vg
mkfs.ext4 -q /dev/drill_vg/data
mkfs.ext4 -q /dev/drill_vg/other
mkdir "$work/data" "$work/other"
mount /dev/drill_vg/data "$work/data"
mount /dev/drill_vg/other "$work/other"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB },
    { lv_path: /dev/drill_vg/other, mount_point: $work/other, increment: 64MiB }] }
defaults: { cooldown: 1s }"
before=$(lv_bytes drill_vg/data)
fill "$work/data" 88
alert drill_vg/data
until_true 60 "a growth" grew drill_vg/data "$before"
until_true 60 "its end" seen 'operations_total\{.*lv=\"data\".*grown\"\} [1-9]'
before=$(lv_bytes drill_vg/other)
fill "$work/other" 88
alert drill_vg/other
until_true 60 "a growth of the other" seen 'operations_total\{.*lv=\"other\".*grown\"\} [1-9]'
rm "$work"/data/fill.*
precious "$work/data"
say "both volumes grew; the backup from before the second growth has the first as it is"
umount "$work/data"
lvremove -q -y drill_vg/data
! lvs drill_vg/data >/dev/null 2>&1 || fail "it is still there"
say "drill_vg/data was removed by mistake"
umount "$work/other"
export backups=$work/state/backup
say "by hand:"
follow drills.md removed-volume
mount /dev/drill_vg/data "$work/data"
e2fsck -fn /dev/drill_vg/data >/dev/null 2>&1 || true
intact "$work/data"
umount "$work/data"
e2fsck -fn /dev/drill_vg/data >/dev/null 2>&1 || fail "the file system is damaged"
e2fsck -fn /dev/drill_vg/other >/dev/null 2>&1 || say "the other file system, newer than the backup, has to be looked at"
