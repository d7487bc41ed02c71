# shellcheck shell=bash
disk first 200M
disk second 200M
vgcreate -q drill_vg "$first" "$second"
lvcreate -q -y -l 40 -i 2 -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
mount /dev/drill_vg/data "$work/data"
precious "$work/data"
umount "$work/data"
vgchange -q -an drill_vg
# The text of the metadata begins after the label (first 4 KiB) and the header of the area (512 bytes).
dd if=/dev/zero of="$second" bs=512 seek=9 count=1000 conv=notrunc,fsync status=none
pvscan --cache >/dev/null 2>&1 || true
! vgck drill_vg >"$work/said" 2>&1 || grep -qi 'metadata\|checksum' "$work/said" || fail "LVM is content: $(cat "$work/said")"
sed 's/^/      /' "$work/said"
export disk=$second good=$first
follow troubleshooting.md metadata-see
follow troubleshooting.md metadata-mend
vgck drill_vg >"$work/said" 2>&1 || fail "LVM is not content: $(cat "$work/said")"
[[ ! -s $work/said ]] || fail "LVM is not content: $(cat "$work/said")"
vgchange -q -ay drill_vg
mount /dev/drill_vg/data "$work/data"
intact "$work/data"
