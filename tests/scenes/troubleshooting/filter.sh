# shellcheck shell=bash
disk first 200M
export disk=$first
vgcreate -q drill_vg "$first"
echo "devices { filter = [ \"r|.*|\" ] }" >/etc/lvm/lvmlocal.conf
! pvs "$first" >/dev/null 2>&1 || fail "it can be seen"
follow troubleshooting.md filter-see || true
follow troubleshooting.md filter-mend
vgs drill_vg >/dev/null
# The same with a devices file in which it does not stand.
echo "devices { use_devicesfile = 1 }" >/etc/lvm/lvmlocal.conf
mkdir -p /etc/lvm/devices
: >/etc/lvm/devices/system.devices
trap 'rm -f /etc/lvm/devices/system.devices; cleanup' EXIT
! pvs "$first" >"$work/said" 2>&1 || fail "it can be seen"
grep -q 'not in devices file' "$work/said" || fail "LVM said: $(cat "$work/said")"
follow troubleshooting.md devices-file-mend
vgs drill_vg >/dev/null
