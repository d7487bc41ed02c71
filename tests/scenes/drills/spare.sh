# shellcheck shell=bash
disk first 300M
disk extra 300M
disk spare 200M
vgcreate -q drill_vg "$first"
full_volume ext4
pvcreate -q "$spare"
udevadm settle
uuid=$(pvs --noheadings -o pv_uuid "$spare" | tr -d ' ')
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB, min_increment: 64MiB }] }
volume_groups: [{ name: drill_vg, spares: [$uuid] }]"
before=$(lv_bytes drill_vg/data)
fill "$work/data" 85
alert drill_vg/data
until_true 60 "it grows" grew drill_vg/data "$before"
until_true 60 "the operation's end" seen 'operations_total\{.*lv="data".*grown"\} 1$'
[[ $(pvs --noheadings -o vg_name "$spare" | tr -d ' ') == drill_vg ]] || fail "the spare was not used"
say "it grew onto the spare"
# The larger disk that was ordered has come.
vgextend -q drill_vg "$extra"
export spare_disk=$spare
follow drills.md spare
[[ -z $(pvs --noheadings -o vg_name "$spare" | tr -d ' ') ]] || fail "the spare is still in the group"
intact "$work/data"
umount "$work/data"
e2fsck -fn /dev/drill_vg/data >/dev/null 2>&1 || fail "the file system is damaged"
