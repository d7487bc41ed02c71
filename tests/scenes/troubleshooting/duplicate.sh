# shellcheck shell=bash
disk first 100M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 40M -n data drill_vg
sync
cp "$work/first.img" "$work/clone.img"
clone=$(losetup --find --show "$work/clone.img")
export clone
pvscan --cache >/dev/null 2>&1 || true
follow troubleshooting.md duplicate-see
follow troubleshooting.md duplicate-mend
vgs drill_vg drill_vgcopy >/dev/null || fail "there are not two groups"
vgremove -q -ff -y drill_vgcopy
