# shellcheck shell=bash
disk first 1500M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 200M -n ext drill_vg
lvcreate -q -y -L 400M -n xfs drill_vg
mkfs.ext4 -q /dev/drill_vg/ext
mkfs.xfs -q /dev/drill_vg/xfs
mkdir "$work/ext" "$work/xfs"
mount /dev/drill_vg/ext "$work/ext"
mount /dev/drill_vg/xfs "$work/xfs"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/ext, mount_point: $work/ext, increment: 64MiB },
    { lv_path: /dev/drill_vg/xfs, mount_point: $work/xfs, increment: 64MiB }] }"
for fs in ext xfs; do
    precious "$work/$fs"
    before=$(fs_bytes "$work/$fs")
    dd if=/dev/zero of="$work/$fs/fill" bs=64K status=none 2>/dev/null || true
    dd if=/dev/zero of="$work/$fs/rest" bs=4K status=none 2>/dev/null || true
    ! dd if=/dev/zero of="$work/$fs/more" bs=4K count=1 conv=fsync status=none 2>/dev/null || fail "$fs is not full"
    say "$fs is full: $(df -B1 --output=avail "$work/$fs" | tail -n 1) bytes left, root cannot write"
    alert "drill_vg/$fs"
    until_true 90 "growth of $fs" fs_grew "$work/$fs" "$before"
    # The size is larger as soon as the first new block group is there, and space only when the growth has ended.
    until_true 60 "its end" seen "operations_total\\{.*lv=\"$fs\".*grown\"\\} 1\$"
    dd if=/dev/zero of="$work/$fs/more" bs=4K count=1 conv=fsync status=none || fail "$fs cannot be written to"
    say "$fs grew from $before to $(fs_bytes "$work/$fs") bytes, writing goes on"
    intact "$work/$fs"
done
say "by hand: nothing; to see what was done:"
export config=$work/config.yaml
follow drills.md disk-full
