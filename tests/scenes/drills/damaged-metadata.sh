# shellcheck shell=bash
disk first 300M
disk second 300M
vgcreate -q drill_vg "$first" "$second"
lvcreate -q -y -l 100 -i 2 -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
mount /dev/drill_vg/data "$work/data"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB, cooldown: 1s }] }"
before=$(lv_bytes drill_vg/data)
fill "$work/data" 85
alert drill_vg/data
until_true 60 "the end of a growth" seen 'operations_total\{.*lv=\"data\".*grown\"\} [1-9]'
rm "$work"/data/fill.*
current() { [[ $(awk '$1 == "seqno" { print $3 }' /etc/lvm/backup/drill_vg) == $(vgs --noheadings -o vg_seqno drill_vg | tr -d ' ') ]]; }
until_true 30 "LVM's own backup in /etc/lvm/backup is from after the extension" current
precious "$work/data"
umount "$work/data"
vgchange -q -an drill_vg
dd if=/dev/zero of="$second" bs=512 count=2047 conv=notrunc,fsync status=none
pvscan --cache >/dev/null 2>&1 || true
say "the first megabyte of one physical volume, its label and LVM's metadata, was overwritten"
until_true 60 "the missing PV in the metrics" metric_is 'lvm_vg_missing_pv_count{vg="drill_vg"}' 1
say "the exporter says: lvm_vg_missing_pv_count 1"
alert drill_vg/data
until_true 60 "a refusal" seen 'refusals_total\{.*vg_partial\"\} [1-9]'
say "an alert now is refused: vg_partial"
export backups=$work/state/backup damaged=$second
say "by hand:"
follow drills.md damaged-metadata
vgchange -q -ay drill_vg
mount /dev/drill_vg/data "$work/data"
intact "$work/data"
vgck drill_vg || fail "vgck is not content"
umount "$work/data"
e2fsck -fn /dev/drill_vg/data >/dev/null 2>&1 || fail "the file system is damaged"
until_true 60 "the PV in the metrics" metric_is 'lvm_vg_missing_pv_count{vg="drill_vg"}' 0
