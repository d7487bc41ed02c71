# shellcheck shell=bash
disk first 400M
vgcreate -q drill_vg "$first"
lvcreate -q -y -L 120M -n data drill_vg
export device=/dev/mapper/drill_vg-data key_file=$work/data.key config=$work/config.yaml
# What a person types to open the volume. A slot of pbkdf2 opens at once, also where the guest is emulated.
echo "a passphrase that people know" >"$work/passphrase"
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$device" <"$work/passphrase"
cryptsetup open "$device" drill_crypt <"$work/passphrase"
mkfs.ext4 -q /dev/mapper/drill_crypt
mkdir "$work/data"
mount /dev/mapper/drill_crypt "$work/data"
precious "$work/data"
daemon "monitor: { targets: [{ lv_path: /dev/drill_vg/data, mount_point: $work/data, increment: 64MiB, min_increment: 64MiB }] }"
until_true 60 "a volume key in the keyring" seen 'lvm_lv_luks_info\{.*lv="data".*key_location="keyring".*\} 1(\.0)?$'
sizes() { lvs --noheadings --units b -o lv_size drill_vg/data && dmsetup table drill_crypt && fs_bytes "$work/data"; }
before=$(lv_bytes drill_vg/data) fs=$(fs_bytes "$work/data") all=$(sizes)
fill "$work/data" 85
alert drill_vg/data
until_true 60 "the refusal" seen 'refusals_total\{.*luks_key"\} [1-9]'
names_command() {
    lvm-autoscaler history --config.file="$config" |
        grep -F "cryptsetup luksAddKey --pbkdf pbkdf2 $device KEYFILE, and set luks_key_file" >/dev/null
}
until_true 30 "the command in the history" names_command
[[ $(sizes) == "$all" ]] || fail "the refused volume was changed"
say "refused: luks_key; volume, mapping and file system are as they were"
say "by hand:"
follow drills.md luks-key <"$work/passphrase"
[[ $(stat -c %a "$key_file") == 600 ]] || fail "others can read the key file"
sed -i "s|mount_point: $work/data|&, luks_key_file: $key_file|" "$config"
say "luks_key_file was written into the config"
follow drills.md luks-reload
[[ $(sizes) == "$all" ]] || fail "the new key slot or the reload changed the volume"
alert drill_vg/data
until_true 90 "it grows" grew drill_vg/data "$before"
until_true 60 "the growth of the file system" fs_grew "$work/data" "$fs"
until_true 60 "the operation's end" seen 'operations_total\{.*lv="data".*grown"\} 1$'
# The header takes 16 MiB of the volume.
(($(blockdev --getsize64 /dev/mapper/drill_crypt) == $(lv_bytes drill_vg/data) - (16 << 20))) || fail "the mapping does not fill its volume"
say "it grew, from $before to $(lv_bytes drill_vg/data) bytes"
intact "$work/data"
# Its looks open the mapping for a moment.
stop_daemon
umount "$work/data"
e2fsck -fn /dev/mapper/drill_crypt >/dev/null 2>&1 || fail "the file system is damaged"
cryptsetup close drill_crypt
