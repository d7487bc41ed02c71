# shellcheck shell=bash
# Power fails right after a growth that made the last allocation group larger, and the mount replays it.
disk first 800M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 400M -n data drill_vg
mkfs.xfs -q -d agsize=300m /dev/drill_vg/data
export mount=$work/data
mkdir "$mount"
mount /dev/drill_vg/data "$mount"
precious "$mount"
lvextend -q -L +32M drill_vg/data
xfs_growfs -d "$mount" >"$work/log"
xfs_io -x -c 'shutdown -f' "$mount"
umount "$mount"
mount /dev/drill_vg/data "$mount"
before=$(fs_bytes "$mount")
lvextend -q -L +32M drill_vg/data
xfs_growfs -d "$mount" >"$work/log" 2>&1 && fail "the kernel has the fix: say so in the manual"
grep -q 'Structure needs cleaning' "$work/log" || fail "xfs_growfs says something else"
follow troubleshooting.md replayed-see
follow troubleshooting.md replayed-mend
(($(fs_bytes "$mount") > before)) || fail "it has its old size"
intact "$mount"
