#!/bin/bash
# What `make bench` runs: prepares a volume group that is metadata only and 200 small mounts, and has benches/scrape.rs
# measure the release binary on them. Needs root, apt and a loop device. Nothing is installed; LVM works on one loop
# device over a sparse file of our own and can see no other device; the mounts are in a mount namespace that ends with
# us.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "SKIPPED: the benchmark (it needs root and apt)"
    exit 0
fi

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
folder=$target/bench
image=$folder/lvm-autoscaler-bench.img
mounts=200

# What is mounted below belongs to this namespace alone.
if [[ -z ${BENCH_NAMESPACE:-} ]]; then
    BENCH_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

cargo bench --locked --bench scrape --no-run

# Debian's own lvm and the libraries it names, unpacked, not installed.
root=$folder/root
if [[ ! -x $root/sbin/lvm ]]; then
    rm -rf "$root" "$folder/packages"
    mkdir -p "$root" "$folder/packages"
    mapfile -t packages < <(apt-cache depends --important lvm2 dmsetup | sed -nE 's/^ *Depends: (lib[^ :<]+).*/\1/p' | sort -u |
        grep -v '^libc6$')
    (cd "$folder/packages" && apt-get download -qq -o APT::Sandbox::User=root lvm2 "${packages[@]}")
    for package in "$folder"/packages/*.deb; do dpkg -x "$package" "$root"; done
    [[ -x $root/sbin/lvm || ! -x $root/usr/sbin/lvm ]] || { mkdir -p "$root/sbin"; ln -s ../usr/sbin/lvm "$root/sbin/lvm"; }
fi
libraries=$(find "$root" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)

rm -f "$image"
truncate -s 64G "$image"
loop=$(losetup --find --show "$image")
trap 'losetup --detach "$loop"; rm -f "$image"' EXIT
backing=$(losetup --noheadings --output BACK-FILE "$loop" | xargs)
[[ $loop =~ ^/dev/loop[0-9]+$ && $backing == "$image" ]] || { echo "$loop is not on $image, refusing"; exit 1; }

mkdir -p "$folder/etc" "$folder/lock"
cat > "$folder/etc/lvm.conf" <<CONF
devices {
    filter = [ "a|^$loop\$|", "r|.*|" ]
    global_filter = [ "a|^$loop\$|", "r|.*|" ]
    use_devicesfile = 0
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
    hints = "none"
}
global { activation = 0  locking_dir = "$folder/lock"  use_lvmpolld = 0 }
activation { udev_sync = 0  udev_rules = 0  monitoring = 0 }
backup { backup = 0  archive = 0 }
CONF

# The programs below are what the daemon and the benchmark run as lvm. The second one makes up for the missing device
# mapper: it reports the volumes as active, the first with the device numbers of the mounts below, and notes that it
# ran.
cat > "$folder/lvm" <<SCRIPT
#!/bin/sh
export LC_ALL=C LVM_SUPPRESS_FD_WARNINGS=1 LVM_SYSTEM_DIR='$folder/etc' LD_LIBRARY_PATH='$libraries'
exec '$root/sbin/lvm' "\$@"
SCRIPT
cat > "$folder/lvm-mounted" <<SCRIPT
#!/bin/sh
'$folder/lvm' "\$@" | awk -f '$folder/mounted.awk' '$folder/devices' -
echo >> '$folder/looks'
SCRIPT
chmod +x "$folder/lvm" "$folder/lvm-mounted"
cat > "$folder/mounted.awk" <<'AWK'
function set(field, value) { sub("\"" field "\":\"[^\"]*\"", "\"" field "\":\"" value "\"") }
FILENAME != "-" { major[FNR] = $1; minor[FNR] = $2; next }
match($0, /"lv_name":"lv[0-9]+"/) {
    lv = substr($0, RSTART + 13, RLENGTH - 14) + 0
    set("lv_kernel_major", lv in major ? major[lv] : 254)
    set("lv_kernel_minor", lv in major ? minor[lv] : lv)
    set("lv_active_locally", 1); set("lv_suspended", 0); set("lv_device_open", 1); set("lv_permissions", "writeable")
}
{ print }
AWK

mkdir -p "$folder/mnt"
mount -t tmpfs -o size=1m,mode=700 tmpfs "$folder/mnt"
: > "$folder/devices"
for ((i = 1; i <= mounts; i++)); do
    mkdir "$folder/mnt/$i"
    mount -t tmpfs -o size=64k "bench$i" "$folder/mnt/$i"
    stat -c '%Hd %Ld' "$folder/mnt/$i" >> "$folder/devices"
done

BENCH_FOLDER=$folder BENCH_DEVICE=$loop cargo bench --locked --bench scrape
