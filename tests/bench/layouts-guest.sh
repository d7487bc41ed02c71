#!/bin/bash
# In the guest: measures what docs/lvm/tuning.md says about layouts, with the document's own commands, on four slow
# disks (/dev/vdb to vde) and a fast one (vdf). Prints tables whose lines begin with their names, and each claim with
# its verdict.
# shellcheck disable=SC2154 # disk1 to disk4 are exported in a loop
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")"
# shellcheck source=tests/vm/follow.sh
. ./follow.sh
[[ ${LVM_AUTOSCALER_VM:-} ]] || { echo "only in the virtual machine"; exit 1; }

cp -r fio /tmp/fio
seconds=4 # a measurement; the throttle lets a tenth of a second's worth through at once
broken=0
export mount=/tmp/data
mkdir -p "$mount"

# The disks that LVM sees are mappings over the real ones, so that `one_by_one` can give them a latency: a throttle
# limits how much a disk does in a second, not how soon it answers. And they write zeroes as most disks do: QEMU's could
# be told to have them, in one small request.
for n in 1 2 3 4; do
    real=/dev/vd$(tr 1234 bcde <<<"$n")
    dmsetup create "slow$n" --table "0 $(blockdev --getsz "$real") delay $real 0 0"
    export "disk$n=/dev/mapper/slow$n"
done
export fast=/dev/vdf
echo 'devices { filter = [ "a|^/dev/mapper/slow|", "a|^/dev/vdf$|", "r|.*|" ] }' >/etc/lvm/lvmlocal.conf
latency() { # MILLISECONDS
    local n real
    for n in 1 2 3 4; do
        real=/dev/vd$(tr 1234 bcde <<<"$n")
        dmsetup suspend --noflush "slow$n"
        dmsetup reload "slow$n" --table "0 $(blockdev --getsz "$real") delay $real 0 $1"
        dmsetup resume "slow$n"
    done
}

quietly() { "$@" >/tmp/said 2>&1 || { cat /tmp/said; return 1; }; }

# speed OPTION...: KB a second of one fio job on $device.
device=/dev/bench_vg/data
speed() {
    /tmp/fio/loader --library-path /tmp/fio /tmp/fio/fio --name=x --minimal --thread --direct=1 --ioengine=libaio \
        --iodepth=16 --filename="$device" --randrepeat=0 "$@" >/tmp/fio.out 2>/tmp/fio.err ||
        { cat /tmp/fio.out /tmp/fio.err >&2; return 1; }
    awk -F';' '$1 == 3 && $5 == 0 { print $7 + $48 }' /tmp/fio.out
}
timed() { speed --time_based --ramp_time=1 --runtime="$seconds" "$@"; }
one_by_one() { # writes of 4 KiB, each brought to the disk before the next one begins, as a database's log
    latency 4
    timed --rw=randwrite --bs=4k --iodepth=1 --ioengine=psync --fdatasync=1
    latency 0
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
claim() { # WHAT LEFT OPERATOR RIGHT, numbers
    if awk "BEGIN { exit !($2 $3 $4) }"; then
        echo "holds: $1 ($2 $3 $4)"
    else
        echo "DOES NOT HOLD: $1 ($2 $3 $4)"
        broken=$((broken + 1))
    fi
}
# Writes of 4 KiB, each to a chunk of the given size that none of them has been to.
each_elsewhere() { speed --rw=randwrite --bs=4k --blockalign="$1" --runtime="$seconds" "${@:2}"; }
in_sync() { until [[ $(lvs --noheadings -o copy_percent bench_vg/data | tr -d ' ') =~ ^(100.00)?$ ]]; do sleep 1; done; }
# The blocks are written once before they are measured, as a file system's are sooner or later: thin volumes allocate.
written() { speed --rw=write --bs=1m >/dev/null; }
gone() { quietly lvremove -f -y bench_vg; }

# Few at a time: RAID1 completes what is under way all at once, and what is under way at the end of a measurement is its
# error.
sequential_read=(timed --rw=read --bs=1m --iodepth=4)
sequential_write=(timed --rw=write --bs=1m --iodepth=4)
random_read=(timed --rw=randread --bs=4k)
random_write=(timed --rw=randwrite --bs=4k)

# Each layout: made, measured, grown online by the document's command.
layouts() {
    echo "layouts | | sequential read | sequential write | random read, 4 KiB | random write, 4 KiB | synchronous write, 4 KiB |"
    echo "layouts |---|--:|--:|--:|--:|--:|"
    local layout column before figures
    declare -gA kb
    for layout in linear striped raid1 raid10 raid5 thin; do
        follow tuning.md "$layout"
        in_sync
        written
        for column in sequential_read sequential_write random_read random_write; do
            local -n how=$column
            kb[$layout,$column]=$("${how[@]}")
        done
        kb[$layout,one_by_one]=$(one_by_one)
        figures=
        for column in sequential_read sequential_write random_read random_write one_by_one; do
            figures+=" $(ratio "${kb[$layout,$column]}" "${kb[linear,$column]}") |"
        done
        echo "layouts | $layout |$figures"
        echo "figures: $layout $(for column in sequential_read sequential_write random_read random_write one_by_one; do printf '%s KB/s ' "${kb[$layout,$column]}"; done)"

        mkfs.ext4 -q -F "$device"
        mount "$device" "$mount"
        before=$(df --output=size "$mount" | tail -n 1)
        follow tuning.md grow
        claim "a $layout volume grows online" "$(df --output=size "$mount" | tail -n 1)" '>' "$before"
        umount "$mount"
        gone
    done
    claim "4 stripes: sequential reads at least three times as fast" "${kb[striped,sequential_read]}" '>' "3 * ${kb[linear,sequential_read]}"
    claim "4 stripes: random writes at least three times as fast" "${kb[striped,random_write]}" '>' "3 * ${kb[linear,random_write]}"
    claim "4 stripes do not help one write after the other" "${kb[striped,one_by_one]}" '<' "1.3 * ${kb[linear,one_by_one]}"
    claim "RAID1 reads from both legs" "${kb[raid1,random_read]}" '>' "1.5 * ${kb[linear,random_read]}"
    claim "RAID1 writes no faster" "${kb[raid1,sequential_write]}" '<' "1.1 * ${kb[linear,sequential_write]}"
    claim "RAID10: random writes faster than RAID5" "${kb[raid10,random_write]}" '>' "1.5 * ${kb[raid5,random_write]}"
    claim "RAID5: sequential reads at least twice as fast" "${kb[raid5,sequential_read]}" '>' "2 * ${kb[linear,sequential_read]}"
    claim "RAID5 makes one write after the other slower" "${kb[raid5,one_by_one]}" '<' "0.8 * ${kb[linear,one_by_one]}"
    claim "a thin volume that is allocated is as fast as its disk" "${kb[thin,random_read]}" '>' "0.8 * ${kb[linear,random_read]}"
}

# RAID5: a write of a whole stripe against one of the same size that begins in the middle of one.
stripes() {
    local whole part small
    follow tuning.md raid5
    in_sync
    whole=$(timed --rw=randwrite --bs=192k)
    part=$(timed --rw=randwrite --bs=192k --blockalign=192k --offset=32k)
    small=$(timed --rw=randwrite --bs=32k)
    echo "stripes | random writes, RAID5 of 3 data stripes of 64 KiB | KB/s, whole stripe = 1 |"
    echo "stripes |---|--:|"
    echo "stripes | 192 KiB, a whole stripe | 1.00 |"
    echo "stripes | 192 KiB, beginning 32 KiB after a stripe does | $(ratio "$part" "$whole") |"
    echo "stripes | 32 KiB | $(ratio "$small" "$whole") |"
    claim "whole stripes are written at least twice as fast" "$whole" '>' "2 * $part"
    mkfs.ext4 -q -F -b 4096 "$device" # so small a one would get blocks of 1 KiB
    follow tuning.md ext4-stripe
    claim "mkfs.ext4 took the stripe from the volume" "$(dumpe2fs -h "$device" 2>/dev/null | awk '/^RAID stripe width/ { print $NF + 0 }')" '==' 48
    gone
}

# The first write to a chunk of a thin volume allocates it, and zeroes what the write leaves of it.
thin() {
    local chunk zero first_order again_order first_small again_small base_order base_small
    quietly lvcreate -y --type linear -L 128m -n data bench_vg "$disk1"
    base_order=$(speed --rw=write --bs=1m)
    base_small=$(timed --rw=randwrite --bs=4k)
    gone
    echo "thin | chunk | new chunks zeroed | sequential write, first | again | random write, 4 KiB, first | again |"
    echo "thin |--:|---|--:|--:|--:|--:|"
    for chunk in 64k 512k; do
        for zero in y n; do
            quietly lvcreate -y --type thin-pool --chunksize "$chunk" -Z "$zero" -L 320m -n pool bench_vg "$disk1"
            quietly lvcreate -y --type thin -V 128m --thinpool pool -n data bench_vg
            first_order=$(speed --rw=write --bs=1m)
            again_order=$(speed --rw=write --bs=1m)
            quietly lvremove -f -y bench_vg/data
            quietly lvcreate -y --type thin -V 128m --thinpool pool -n data bench_vg
            first_small=$(each_elsewhere "$chunk")
            written
            again_small=$(timed --rw=randwrite --bs=4k)
            echo "thin | ${chunk%k} KiB | $([[ $zero == y ]] && echo yes || echo no) | $(ratio "$first_order" "$base_order") | $(ratio "$again_order" "$base_order") | $(ratio "$first_small" "$base_small") | $(ratio "$again_small" "$base_small") |"
            claim "chunks of $chunk, zeroed: $zero: the second small write is as fast as a linear volume's" "$again_small" '>' "0.8 * $base_small"
            [[ $zero == n ]] || claim "chunks of $chunk: the first small write is slower than the second" "$first_small" '<' "0.7 * $again_small"
            gone
        done
    done
}

# What a snapshot costs the writes of its origin, on the first write to a chunk and on the next.
snapshots() {
    local base_order base_small kind first_order first_small again_small
    echo "snapshots | snapshot | sequential write, first | random write, 4 KiB, first | again |"
    echo "snapshots |---|--:|--:|--:|"
    quietly lvcreate -y --type linear -L 128m -n data bench_vg "$disk1"
    base_order=$(speed --rw=write --bs=1m)
    base_small=$(timed --rw=randwrite --bs=4k)
    for kind in 4k 64k 512k; do
        quietly lvcreate -y -s -L 200m -c "$kind" -n snap bench_vg/data "$disk1"
        one_kind "classic, chunks of ${kind%k} KiB, on the same disk" "$kind"
        quietly lvremove -f -y bench_vg/snap
    done
    quietly lvcreate -y -s -L 200m -c 64k -n snap bench_vg/data "$disk2"
    one_kind "classic, chunks of 64 KiB, on another disk" 64k
    local classic=$first_small
    gone
    quietly lvcreate -y --type thin-pool --chunksize 64k -Z n -L 480m -n pool bench_vg "$disk1"
    quietly lvcreate -y --type thin -V 128m --thinpool pool -n data bench_vg
    written
    base_order=$(speed --rw=write --bs=1m)
    base_small=$(timed --rw=randwrite --bs=4k)
    quietly lvcreate -y -s -n snap bench_vg/data
    one_kind "thin, chunks of 64 KiB" 64k
    claim "thin snapshots cost small first writes too" "$first_small" '<' "0.7 * $base_small"
    claim "a chunk that was copied costs nothing any more" "$again_small" '>' "0.8 * $base_small"
    claim "classic snapshots cost small first writes" "$classic" '<' "0.7 * $base_small"
    gone
}
one_kind() { # NAME CHUNK; the snapshot is there. The first half of the volume for the one, the second for the other
    first_small=$(each_elsewhere "$2" --size=64m)
    first_order=$(speed --rw=write --bs=1m --offset=64m --size=64m)
    again_small=$(timed --rw=randwrite --bs=4k --offset=64m --size=64m)
    echo "snapshots | $1 | $(ratio "$first_order" "$base_order") | $(ratio "$first_small" "$base_small") | $(ratio "$again_small" "$base_small") |"
}

# A cache on the fast disk: in its first two seconds, after it has seen the same 48 MiB for a while, and what its two
# modes do for writes.
cache() {
    local base_read base_write mode cold warm small commits base_commits
    echo "cache | cache of 64 MiB on a disk eight times as fast | random read, 4 KiB, in 48 MiB, first 2 s | after 30 s | random write | synchronous write |"
    echo "cache |---|--:|--:|--:|--:|"
    for mode in writethrough writeback; do
        follow tuning.md linear
        written
        base_read=$(timed --rw=randread --bs=4k --size=48m)
        base_write=$(timed --rw=randwrite --bs=4k --size=48m)
        latency 4
        base_commits=$(timed --rw=randwrite --bs=4k --size=48m --iodepth=1 --ioengine=psync --fdatasync=1)
        latency 0
        export mode
        follow tuning.md cache
        cold=$(speed --rw=randread --bs=4k --size=48m --time_based --runtime=2)
        speed --rw=randread --bs=4k --size=48m --time_based --runtime=30 >/dev/null
        warm=$(timed --rw=randread --bs=4k --size=48m)
        small=$(timed --rw=randwrite --bs=4k --size=48m)
        latency 4
        commits=$(timed --rw=randwrite --bs=4k --size=48m --iodepth=1 --ioengine=psync --fdatasync=1)
        latency 0
        echo "cache | $mode | $(ratio "$cold" "$base_read") | $(ratio "$warm" "$base_read") | $(ratio "$small" "$base_write") | $(ratio "$commits" "$base_commits") |"
        claim "$mode: a warm cache reads at least twice as fast as the disk" "$warm" '>' "2 * $base_read"
        claim "$mode: a cold one not yet" "$cold" '<' "0.5 * $warm"
        follow tuning.md cache-see
        follow tuning.md cache-off
        gone
    done
}

# Read-ahead: what a program gets that reads a file from its beginning, with disks that take 4 ms to answer.
readahead() {
    local layout sectors base=
    echo "readahead | read-ahead | linear | 4 stripes |"
    echo "readahead |--:|--:|--:|"
    declare -A got
    for layout in linear striped; do
        follow tuning.md "$layout" >/dev/null
        latency 4
        for sectors in 32 256 2048 8192; do
            export sectors
            follow tuning.md readahead >/dev/null
            got[$layout,$sectors]=$(speed --rw=read --bs=16k --direct=0 --ioengine=psync --invalidate=1 --time_based --runtime="$seconds")
            [[ $base ]] || base=${got[$layout,$sectors]}
        done
        latency 0
        gone
    done
    for sectors in 32 256 2048 8192; do
        echo "readahead | $((sectors / 2)) KiB | $(ratio "${got[linear,$sectors]}" "${got[linear,256]}") | $(ratio "${got[striped,$sectors]}" "${got[linear,256]}") |"
    done
    claim "4 stripes need more read-ahead than a disk" "${got[striped,2048]}" '>' "1.3 * ${got[striped,256]}"
    claim "very little read-ahead is slow" "${got[linear,32]}" '<' "0.8 * ${got[linear,256]}"
}

# The same space in sixteen growths and in one.
growths() {
    local fs steps extents began
    echo "growths | | 16 growths of 16 MiB | 1 growth of 256 MiB |"
    echo "growths |---|--:|--:|"
    declare -A took groups
    for fs in ext4 xfs; do
        for steps in 16 1; do
            quietly lvcreate -y --type linear -L 320m -n data bench_vg "$disk1"
            "mkfs.$fs" -q "$device"
            mount "$device" "$mount"
            extents=$((64 / steps)) began=$EPOCHREALTIME
            for ((n = 0; n < steps; n++)); do
                quietly lvextend -l "+$extents" bench_vg/data
                if [[ $fs == xfs ]]; then quietly xfs_growfs "$mount"; else quietly resize2fs "$device"; fi
            done
            took[$fs,$steps]=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
            [[ $fs != xfs ]] || groups[$steps]=$(xfs_info "$mount" | sed -n 's/.*agcount=\([0-9]*\).*/\1/p')
            umount "$mount"
            gone
        done
        echo "growths | $fs, time together | $(ratio "${took[$fs,16]}" "${took[$fs,1]}") | 1.00 |"
    done
    echo "growths | XFS, allocation groups (4 at first) | ${groups[16]} | ${groups[1]} |"
    claim "the number of allocation groups is a matter of size, not of steps" "${groups[16]}" '==' "${groups[1]}"

    # Two volumes that grow by turns: a segment each time.
    quietly lvcreate -y -L 16m -n data bench_vg "$disk1"
    quietly lvcreate -y -L 16m -n other bench_vg "$disk1"
    for n in 1 2 3 4 5 6 7 8; do
        quietly lvextend -l +4 bench_vg/data "$disk1"
        quietly lvextend -l +4 bench_vg/other "$disk1"
    done
    follow tuning.md segments
    claim "by turns, each growth is a segment" "$(lvs --noheadings -o seg_count bench_vg/data | tr -d ' ')" '==' 9
    gone
}

# What the document says about growing: refused where it says so, and possible with its commands.
growing() {
    # Stripes: free extents on one disk only are none for a striped volume.
    quietly lvcreate -y --type striped -i 4 -I 64k -l 100%FREE -n data bench_vg "$disk1" "$disk2" "$disk3" "$disk4"
    mkfs.xfs -q -f "$device"
    mount "$device" "$mount"
    quietly vgextend bench_vg "$fast"
    if lvextend -l +16 bench_vg/data >/tmp/said 2>&1; then refused=0; else refused=1; fi
    sed 's/^/      /' /tmp/said
    claim "one new disk does not grow 4 stripes" "$refused" '==' 1
    follow tuning.md grow-unstriped
    umount "$mount"
    gone
    quietly vgreduce bench_vg "$fast"

    # A thin volume: discard gives back what was deleted.
    follow tuning.md thin
    mkfs.ext4 -q "$device"
    mount "$device" "$mount"
    dd if=/dev/urandom of="$mount/file" bs=1M count=64 conv=fsync status=none
    rm "$mount/file"
    sync -f "$mount"
    used() { lvs --noheadings -o data_percent bench_vg/pool | tr -d ' '; }
    before=$(used)
    follow tuning.md discard
    claim "fstrim gives back what was deleted" "$(used)" '<' "$before - 10"
    umount "$mount"
    follow tuning.md pool-see
    gone
}

quietly follow tuning.md group
# How fast the machine would be without throttles is of no use; that it is fast enough is.
echo "the fast disk as it is: $(device=$fast timed --rw=randread --bs=4k) KB/s random, $(device=$fast timed --rw=read --bs=1m) KB/s sequential"
(($#)) || set -- readahead layouts thin stripes cache snapshots growths growing
for part; do
    echo "== $part"
    "$part"
    echo "done: $part" # or its table would be half of one
done
echo "figures: $broken claims of docs/lvm/tuning.md do not hold"
((broken == 0))
