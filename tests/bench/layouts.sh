#!/bin/bash
# What `make tuning` runs: measures the layouts of docs/lvm/tuning.md with fio in the virtual machine, with the
# document's own commands, on disks that QEMU throttles. Writes the tables into the document and fails if a relation
# that the document claims does not hold. About a quarter of an hour; needs root and apt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "SKIPPED: the layouts (they need root and apt)"
    exit 0
fi
page=docs/lvm/tuning.md
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tuning
share=$folder/share
mkdir -p "$share"

# fio and whatever it is linked to, its C library too, so that it runs in any guest. Downloaded by this machine's apt as
# if nothing were installed, unpacked, and cut down to what the program loads.
if [[ ! -x $share/fio/fio ]]; then
    packages=$folder/packages
    rm -rf "$packages" "$share/fio"
    mkdir -p "$packages/partial" "$packages/root" "$share/fio.new"
    fetch=(apt-get -qq -y -o APT::Sandbox::User=root -o Dir::State::status=/dev/null -o "Dir::Cache::archives=$packages"
        --no-install-recommends --download-only install fio)
    "${fetch[@]}" || { apt-get -qq -o APT::Sandbox::User=root update && "${fetch[@]}"; }
    for package in "$packages"/*.deb; do dpkg -x "$package" "$packages/root"; done
    loader=$(find "$packages/root" -name 'ld-linux-x86-64.so.2' ! -type d | head -n 1)
    libraries=$(find "$packages/root" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
    "$loader" --library-path "$libraries" --list "$packages/root/usr/bin/fio" | awk '$3 ~ "^/" { print $3 }' |
        xargs cp -L -t "$share/fio.new"
    cp -L "$loader" "$share/fio.new/loader"
    cp "$packages/root/usr/bin/fio" "$share/fio.new/"
    mv "$share/fio.new" "$share/fio"
    rm -rf "$packages"
fi

# Slow enough that the emulated processor is never what is measured: whoever has the other cores, a disk does no more
# than this. Requests as a disk counts them, a large one as one. Flushes go nowhere, because the images are thrown away.
slow=throttling.iops-total=300,throttling.bps-total=16777216
fast=throttling.iops-total=2400,throttling.bps-total=67108864
disks=()
for disk in 1 2 3 4 fast; do
    rm -f "$folder/$disk.img"
    truncate -s 768M "$folder/$disk.img"
    disks+=(--disk "$folder/$disk.img,cache.no-flush=on,$([[ $disk == fast ]] && echo "$fast" || echo "$slow")")
done
trap 'rm -f "$folder"/*.img' EXIT

cp "$here/layouts-guest.sh" tests/vm/follow.sh "$page" "$share/"
status=0
tests/vm/rig.sh run --timeout 3600 "${disks[@]}" "$share" ./layouts-guest.sh "$@" | tee "$folder/log" || status=$?

# Each table that is whole goes between its two comments; those that were not measured this time stay.
while read -r name; do
    awk -v name="$name" -v log_file="$folder/log" '
        $0 == "<!-- measured: " name " -->" {
            print
            print ""
            while ((getline line < log_file) > 0)
                if (sub("^" name " \\|", "|", line)) print line
            print ""
            skip = 1
        }
        $0 == "<!-- end -->" { skip = 0 }
        !skip' "$page" >"$folder/page"
    cat "$folder/page" >"$page"
done < <(sed -n 's/^done: //p' "$folder/log")
exit "$status"
