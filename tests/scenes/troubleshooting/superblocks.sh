# shellcheck shell=bash
# The copies of the superblock as a power cut between the kernel's two writes leaves them: put back as they were before
# the growth.
disk first 800M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 320M -n data drill_vg
mkfs.xfs -q /dev/drill_vg/data
export mount=$work/data
mkdir "$mount"
mount /dev/drill_vg/data "$mount"
blocks=$(xfs_info "$mount" | sed -nE 's/.*agsize=([0-9]+) blks.*/\1/p')
sync -f "$mount"
sector() { dd bs=512 count=1 status=none "$@"; }
for n in 1 2 3; do sector if=/dev/drill_vg/data iflag=direct skip=$((blocks * 8 * n)) of="$work/copy$n"; done
lvextend -q -L +64M drill_vg/data
xfs_growfs -d "$mount" >"$work/log"
# Over the old end, where xfs_repair would delete it.
fill "$mount" 70
precious "$mount"
umount "$mount"
xfs_repair -n /dev/drill_vg/data >"$work/log" 2>&1 || fail "it was sound before"
for n in 1 2 3; do sector if="$work/copy$n" of=/dev/drill_vg/data oflag=direct seek=$((blocks * 8 * n)) conv=notrunc; done
xfs_repair -n /dev/drill_vg/data >"$work/log" 2>&1 && fail "xfs_repair finds nothing"
grep -q 'would write modified primary superblock' "$work/log" || fail "xfs_repair says something else"
follow troubleshooting.md superblocks-see
follow troubleshooting.md superblocks-mend
mount /dev/drill_vg/data "$mount"
(($(fs_bytes "$mount") > 335000000)) || fail "it has its old size"
intact "$mount"
