# shellcheck shell=bash
disk first 600M
vgcreate -q drill_vg "$first"
full_volume xfs
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB, min_increment: 64MiB }] }
volume_groups: [{ name: drill_vg, grown_disks: resize }]"
before=$(lv_bytes drill_vg/data)
fill "$work/data" 85
alert drill_vg/data
until_true 60 "the refusal" seen 'refusals_total\{.*insufficient_space.*\} 1$'
until_true 60 "what is missing" seen 'supply_needed_bytes\{vg="drill_vg"\} [1-9]'
say "refused: $(metric 'lvm_autoscaler_supply_needed_bytes{vg="drill_vg"}') bytes are missing"
truncate -s 1G "$work/first.img"
losetup -c "$first"
say "the disk was enlarged"
until_true 60 "it grows without another alert" grew drill_vg/data "$before"
until_true 60 "the operation's end" seen 'operations_total\{.*lv="data".*grown"\} 1$'
say "it grew by itself: $(lv_bytes drill_vg/data) bytes"
export config=$work/config.yaml
follow drills.md disk-grows
intact "$work/data"
umount "$work/data"
xfs_repair -n /dev/drill_vg/data >/dev/null 2>&1 || fail "the file system is damaged"
