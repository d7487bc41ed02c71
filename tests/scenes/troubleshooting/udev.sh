# shellcheck shell=bash
disk first 200M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 40M -n data drill_vg
rm -f /dev/drill_vg/data
follow troubleshooting.md udev-see
follow troubleshooting.md udev-mend
until_true 30 "the link" test -e /dev/drill_vg/data
