# shellcheck shell=bash
disk first 200M
export disk=$first
vgcreate -q drill_vg "$first"
echo "devices { filter = [ \"r|.*|\" ] }" >/etc/lvm/lvmlocal.conf
! pvs "$first" >/dev/null 2>&1 || fail "it can be seen"
follow troubleshooting.md filter-see || true
follow troubleshooting.md filter-mend
vgs drill_vg >/dev/null
