# shellcheck shell=bash
disk first 200M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 40M -n data drill_vg
flock /run/lock/lvm/V_drill_vg sleep 8 &
sleep 1
follow troubleshooting.md lock-see >"$work/seen" || true
cat "$work/seen"
grep -q 'V_drill_vg' "$work/seen" || fail "lslocks did not show it"
began=$SECONDS
lvextend -q -l +1 drill_vg/data || fail "it did not wait"
((SECONDS - began >= 3)) || fail "the lock did not hold it"
wait
