# shellcheck shell=bash
disk first 800M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 200M -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
mkdir "$work/data"
mount /dev/drill_vg/data "$work/data"
precious "$work/data"
cat >"$work/resize2fs" <<SLOW
#!/bin/bash
touch $work/resizing
sleep 4
exec $(command -v resize2fs) "\$@"
SLOW
chmod +x "$work/resize2fs"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB }] }
tools: { resize2fs: $work/resize2fs }"
before=$(lv_bytes drill_vg/data) fs=$(fs_bytes "$work/data")
fill "$work/data" 82
alert drill_vg/data
until_true 60 "resize2fs" test -e "$work/resizing"
kill -KILL "$pid"
wait "$pid" || true
extended=$(lv_bytes drill_vg/data)
say "killed in the middle: the volume has $extended bytes, its file system $(fs_bytes "$work/data")"
((extended > before)) || fail "it was not extended yet"
start_daemon
until_true 90 "the rest" fs_grew "$work/data" "$fs"
until_true 60 "the operation's end" seen 'operations_total\{.*lv="data".*grown"\} 1$'
[[ $(lv_bytes drill_vg/data) == "$extended" ]] || fail "it was extended twice"
say "the next start finished it: the volume was extended once, the file system fills it"
intact "$work/data"
export config=$work/config.yaml
follow drills.md crash
umount "$work/data"
e2fsck -fn /dev/drill_vg/data >/dev/null 2>&1 || fail "the file system is damaged"
