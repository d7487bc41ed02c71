# shellcheck shell=bash
disk disk 100M
vgcreate -q drill_vg "$disk"
lvcreate -q -y -l 100%FREE -n data drill_vg
truncate -s 200M "$work/disk.img"
losetup -c "$disk"
free() { vgs --noheadings --units m --nosuffix -o vg_free drill_vg | tr -d ' ' | cut -d. -f1; }
(($(free) == 0)) || fail "LVM knows of it already"
follow troubleshooting.md enlarged-see
grep -q 200 <<<"$(lsblk -n -o SIZE "$disk")" || fail "the kernel does not know of it"
follow troubleshooting.md enlarged-mend
(($(free) >= 96)) || fail "$(free) MiB are free"
