# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 100M -n data drill_vg
mkfs.ext4 -q /dev/drill_vg/data
export mount=$work/data
mkdir "$mount"
mount -o errors=remount-ro /dev/drill_vg/data "$mount"
precious "$mount"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $mount, increment: 64MiB }] }"
dm=$(basename "$(readlink -f /dev/drill_vg/data)")
echo "an error, for the drill" >"/sys/fs/ext4/$dm/trigger_fs_error"
touch "$mount/more" 2>/dev/null && fail "it can be written to"
until_true 60 "the metrics" seen '^lvm_filesystem_errors\{.*\} [1-9]'
alert drill_vg/data
until_true 60 "a refusal" seen 'refusals_total.*fs_(read_only|errors)'
follow troubleshooting.md read-only-see
follow troubleshooting.md read-only-mend
touch "$mount/writable"
intact "$mount"
