# shellcheck shell=bash
disk first 400M
disk second 400M
export new_disk=$second
vgcreate -q drill_vg "$first"
full_volume ext4
daemon "monitor: { interval_seconds: 1, targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB }] }"
before=$(lv_bytes drill_vg/data) fs=$(fs_bytes "$work/data")
fill "$work/data" 88
say "the file system is 88 % full and the volume group has no free extent"
alert drill_vg/data
until_true 60 "a refusal for lack of space" seen 'refusals_total\{.*insufficient_space\"\} [1-9]'
say "refused: insufficient_space; headroom $(metric 'lvm_autoscaler_target_headroom_bytes') bytes"
! grew drill_vg/data "$before" || fail "it grew"
say "by hand:"
follow drills.md vg-exhausted
until_true 90 "the waiting growth" grew drill_vg/data "$before"
until_true 60 "the growth of the file system" fs_grew "$work/data" "$fs"
say "the waiting growth succeeded by itself, from $before to $(lv_bytes drill_vg/data) bytes"
intact "$work/data"
