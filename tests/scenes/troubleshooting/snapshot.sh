# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 100M -n data drill_vg
lvcreate -q -y -s -L 8M -n snap drill_vg/data
dd if=/dev/urandom of=/dev/drill_vg/data bs=1M count=30 oflag=direct conv=fsync status=none
[[ $(lvs --noheadings -o lv_snapshot_invalid drill_vg/snap 2>/dev/null | tr -d ' ') == *invalid* ]] || fail "it did not overflow"
follow troubleshooting.md snapshot-see
follow troubleshooting.md snapshot-mend
! lvs drill_vg/snap >/dev/null 2>&1 || fail "it is still there"
