# shellcheck shell=bash
disk first 100M
disk second 100M
export new_disk=$second
vgcreate -q drill_vg "$first"
lvcreate -q -y -l 100%FREE -n data drill_vg
lvextend -l +10 drill_vg/data 2>"$work/said" && fail "lvextend succeeded"
grep -q 'Insufficient free space' "$work/said" || fail "lvextend said: $(cat "$work/said")"
before=$(lv_bytes drill_vg/data)
follow troubleshooting.md insufficient-see
follow troubleshooting.md insufficient-mend
grew drill_vg/data "$before" || fail "it did not grow"
