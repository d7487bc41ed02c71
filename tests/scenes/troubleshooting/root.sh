# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 100M -n root drill_vg
mkfs.ext4 -q /dev/drill_vg/root
mkdir "$work/root"
mount /dev/drill_vg/root "$work/root"
before=$(fs_bytes "$work/root")
# The guest's own /, where LVM keeps its archive, is full to the last byte.
trap 'rm -f /fill /rest; cleanup' EXIT
dd if=/dev/zero of=/fill bs=1M status=none 2>/dev/null || true
dd if=/dev/zero of=/rest bs=4K status=none 2>/dev/null || true
[[ $(df --output=avail / | tail -n 1 | tr -d ' ') == 0 ]] || fail "/ is not full"
follow troubleshooting.md root-see
follow troubleshooting.md root-mend
fs_grew "$work/root" "$before" || fail "it did not grow"
