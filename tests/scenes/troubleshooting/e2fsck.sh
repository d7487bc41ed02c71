# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 100M -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
sleep 1.1 # a file system that is mounted in the second in which it was made counts as checked since
mount /dev/drill_vg/data "$work/data"
precious "$work/data"
umount "$work/data"
lvextend -q -L +100M drill_vg/data
resize2fs /dev/drill_vg/data >"$work/said" 2>&1 && fail "resize2fs succeeded"
grep -q "Please run 'e2fsck -f" "$work/said" || fail "resize2fs said: $(cat "$work/said")"
follow troubleshooting.md e2fsck-see
follow troubleshooting.md e2fsck-mend
mount /dev/drill_vg/data "$work/data"
(($(fs_bytes "$work/data") > 150000000)) || fail "it did not grow"
intact "$work/data"
