#!/bin/bash
# Power cuts: a virtual machine whose daemon grows an ext4 and an XFS at the same time is killed (SIGKILL to QEMU) in
# the middle, its disks are kept, and the next boot looks at what became of them (cut.rs), recovers, checks, and begins
# again.
#
#   cuts.sh [growths|supply] [CUTS]      so many, at moments chosen at random; without a number until each step was hit
#                                        twice on each file system, and at least 20 times
#
# supply: the groups are full, and each growth needs a partition and a PV whose disks became larger, a spare, and LUKS
# (cut_supply.rs). A growth uses all that up, so each has new copies of the same disks. The recovery is cut as well,
# again and again, until one ends.
#
# CUTS_SEED=n repeats the choices of a run; where exactly a cut hits depends on the machine as well. What counts as hit
# is what the journal on disk holds after the cut.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "SKIPPED: power cuts (they need root and apt)"
    exit 0
fi

scene=growths
if [[ ${1:-} == growths || ${1:-} == supply ]]; then scene=$1 && shift; fi
cuts=${1:-} most=60
seed=${CUTS_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
echo "CUTS_SEED=$seed"
kinds=(ext4 xfs)

# In the order of the pipeline. The file system's check has no command: a cut within it is one after the extension.
steps=(received planned backup_metadata extend_lv after_extend_lv grow_filesystem verified finished)
# How many milliseconds a cut waits at random after the daemon was heard to be there.
declare -A pause=([received]=600 [planned]=100 [backup_metadata]=300 [extend_lv]=700 [after_extend_lv]=100
    [grow_filesystem]=250 [verified]=100 [finished]=300)
if [[ $scene == supply ]]; then
    # growpart resizes the PV of its partition as well: that step has a command only for the other PV.
    steps=(received planned backup_metadata grow_partition after_grow_partition resize_pv after_resize_pv extend_group
        after_extend_group extend_lv after_extend_lv resize_mapping after_resize_mapping grow_filesystem verified finished)
    pause+=([received]=900 [grow_partition]=3500 [after_grow_partition]=100 [resize_pv]=700 [after_resize_pv]=100
        [extend_group]=900 [after_extend_group]=100 [resize_mapping]=900 [after_resize_mapping]=100)
fi

# shellcheck source=tests/vm/build.sh
. "$here/build.sh"
build_share cut
"$here/rig.sh" prepare
work=$(mktemp -d "$(dirname "$share")/cuts.XXXXXX")
rig=
cleanup() {
    [[ -z $rig ]] || kill "$rig" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
rm -f "$share/expected" "$share/written"
truncate -s 256M "$work/state"
mke2fs -q -t ext4 "$work/state"
# Of each kind in the other scene: the disk with a partition, the one that is a PV as a whole, the spare; before and
# after.
disks=(ext4 xfs) kept=()
declare -A sizes=([ext4_part]=48M [ext4_disk]=44M [ext4_spare]=16M [xfs_part]=184M [xfs_disk]=180M [xfs_spare]=16M)
declare -A larger=([ext4_part]=60M [ext4_disk]=56M [xfs_part]=196M [xfs_disk]=192M)
if [[ $scene == growths ]]; then
    truncate -s 8G "$work/ext4" "$work/xfs"
else
    disks=(ext4_part ext4_disk ext4_spare xfs_part xfs_disk xfs_spare)
    kept=(state "${disks[@]}")
    for disk in "${disks[@]}"; do truncate -s "${sizes[$disk]}" "$work/$disk"; done
fi

declare -A hits=()
declare -A over=()
files=0 done_cuts=0 all_hits=0 mended=0 was_cut=

# boot cut|end|either [ARGUMENT of cut.rs...]: until the machine is cut at the moment $kind $step, or until it ends.
boot() {
    local line word rest pid cut='' until=$1 disk attached=()
    shift
    rm -f "$work/pid"
    for disk in "${disks[@]}"; do attached+=(--disk "$work/$disk"); done
    # The disk of the journal is a slow one, so that there is time between two of its records. What an operation writes
    # down is on disk when the write returns, however long that takes.
    exec 4< <(exec "$here/rig.sh" run --timeout 900 --pidfile "$work/pid" --disk "$work/state,throttling.iops-write=10" \
        "${attached[@]}" "$share" ./start cut "$@" 2>"$work/rig.log")
    rig=$!
    while IFS= read -r -u 4 line; do
        read -r word rest <<<"$line"
        case $word in
            cut)
                read -r fs hit <<<"$rest"
                # The power may be cut while the other one is recovered.
                [[ ! ${over[$fs]:-} ]] || continue
                printf '  cut %3d hit %-4s at %s\n' "$done_cuts" "$fs" "$hit"
                hits[$fs $hit]=$((${hits[$fs $hit]:-0} + 1)) all_hits=$((all_hits + 1))
                [[ $hit != finished || $scene != supply ]] || over[$fs]=1
                ;;
            ended) printf '          then %-4s %s\n' "${rest%% *}" "${rest#* }" ;;
            files) files=$((files + ${rest#* })) ;;
            mended) mended=$((mended + 1)) ;;
            at | idle)
                if [[ -z $cut && $until != end ]] && [[ $word == idle || $rest == "$kind $step" ]]; then
                    cut=$((RANDOM % ${pause[$step]}))
                    sleep "$(printf '%d.%03d' $((cut / 1000)) $((cut % 1000)))"
                    pid=$(<"$work/pid")
                    [[ $(<"/proc/$pid/comm") == qemu-system* ]] && kill -KILL "$pid"
                fi
                ;;
            *) echo "$line" >>"$work/output" ;;
        esac
    done
    exec 4<&-
    local status=0
    wait "$rig" || status=$?
    rig=
    was_cut=$cut
    if [[ $until != end && $cut ]] || [[ $until != cut && $status == 0 ]]; then return; fi
    echo "FAILED (CUTS_SEED=$seed, after $done_cuts cuts): the machine ended with status $status"
    tail -n 60 "$work/output" "$work/rig.log" 2>/dev/null
    exit 1
}

# The step to cut at next: one that was hit least, or any of them.
choose() {
    local least=1000 candidates=() fs at count
    for fs in "${kinds[@]}"; do
        for at in "${steps[@]}"; do
            count=${hits[$fs $at]:-0}
            if [[ $cuts ]]; then count=0; fi
            if ((count < least)); then least=$count candidates=(); fi
            if ((count == least)); then candidates+=("$fs $at"); fi
        done
    done
    read -r kind step <<<"${candidates[RANDOM % ${#candidates[@]}]}"
    [[ ! $cuts ]] || return 0
    ((least < 2 || done_cuts < 20))
}

# The state of all disks before a cut; what was larger stays so, without taking space here.
copies() {
    local from=$1 to=$2 disk
    for disk in "${kept[@]}"; do cp --sparse=always "$work/$from$disk" "$work/$to$disk"; done
}

if [[ $scene == supply ]]; then
    boot end supply make
    for disk in "${!larger[@]}"; do truncate -s "${larger[$disk]}" "$work/$disk"; done
    copies '' kept.
fi
while choose && ((done_cuts < ${cuts:-$most})); do
    if [[ $scene == growths ]]; then
        boot cut
        done_cuts=$((done_cuts + 1))
    else
        over=()
        boot cut supply begin
        done_cuts=$((done_cuts + 1))
        # Most recoveries are cut as well, if they come to the moment that was chosen.
        while ((RANDOM % 4)) && ((done_cuts < ${cuts:-$most})) && choose; do
            boot either supply check
            [[ $was_cut ]] || break
            done_cuts=$((done_cuts + 1))
        done
        [[ ! $was_cut ]] || boot end supply check
        copies kept. ''
    fi
done
[[ $scene == supply ]] || boot end last

printf '%-20s %5s %5s\n' "journal's last word" "${kinds[@]}"
missed=0
# Those that have no command are no moments of their own, but a cut may fall there too.
for at in nothing "${steps[@]}" after_backup_metadata check_filesystem after_check_filesystem; do
    printf '%-20s %5d %5d\n' "$at" "${hits[ext4 $at]:-0}" "${hits[xfs $at]:-0}"
    if [[ ! $cuts && " ${steps[*]} " == *" $at "* ]] && ((${hits[ext4 $at]:-0} < 2 || ${hits[xfs $at]:-0} < 2)); then missed=1; fi
done
echo "figures: $done_cuts power cuts ($scene), $all_hits operations hit, $files synced files intact, copies of an XFS superblock written anew after $mended (CUTS_SEED=$seed)"
((missed == 0)) || { echo "FAILED: not every step was hit twice in $most cuts"; exit 1; }
