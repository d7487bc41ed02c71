# shellcheck shell=bash
disk first 800M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 400M -n data drill_vg
mkfs.xfs -q /dev/drill_vg/data
export mount=$work/data
mkdir "$mount"
mount /dev/drill_vg/data "$mount"
lvextend -q -L +200M drill_vg/data
resize2fs /dev/drill_vg/data 2>"$work/said" && fail "resize2fs succeeded"
grep -q 'Bad magic number in super-block' "$work/said" || fail "resize2fs said: $(cat "$work/said")"
before=$(fs_bytes "$mount")
follow troubleshooting.md bad-magic-see
follow troubleshooting.md bad-magic-mend
fs_grew "$mount" "$before" || fail "it did not grow"
