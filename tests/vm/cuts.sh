#!/bin/bash
# Power cuts: a virtual machine whose daemon grows an ext4 and an XFS at the same time is killed (SIGKILL to QEMU) in the
# middle, its disks are kept, and the next boot looks at what became of them (cut.rs), recovers, checks, and begins again.
#
#   cuts.sh [CUTS]      so many, at moments chosen at random; without a number until each step was hit twice on each
#                       file system, and at least 20 times
#
# CUTS_SEED=n repeats the choices of a run; where exactly a cut hits depends on the machine as well. What counts as hit is
# what the journal on disk holds after the cut.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "SKIPPED: power cuts (they need root and apt)"
    exit 0
fi

cuts=${1:-} most=60
seed=${CUTS_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
echo "CUTS_SEED=$seed"

# In the order of the pipeline. The file system's check has no command: a cut within it is one after the extension.
steps=(received planned backup_metadata extend_lv after_extend_lv grow_filesystem verified finished)
# How many milliseconds a cut waits at random after the daemon was heard to be there.
declare -A pause=([received]=600 [planned]=100 [backup_metadata]=300 [extend_lv]=700 [after_extend_lv]=100
    [grow_filesystem]=250 [verified]=100 [finished]=300)

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
truncate -s 8G "$work/ext4" "$work/xfs"

declare -A hits=()
files=0 done_cuts=0 mended=0

# boot [last]: until the machine is cut or ends; cuts at the moment $kind $step.
boot() {
    local line word rest pid cut=
    rm -f "$work/pid"
    # The disk of the journal is a slow one, so that there is time between two of its records. What an operation writes
    # down is on disk when the write returns, however long that takes.
    exec 4< <(exec "$here/rig.sh" run --timeout 900 --pidfile "$work/pid" --disk "$work/state,throttling.iops-write=10" \
        --disk "$work/ext4" --disk "$work/xfs" "$share" ./start cut "$@" 2>"$work/rig.log")
    rig=$!
    while IFS= read -r -u 4 line; do
        read -r word rest <<<"$line"
        case $word in
            cut)
                read -r fs hit result <<<"$rest"
                printf '  cut %2d hit %-4s at %-16s %s\n' "$done_cuts" "$fs" "$hit" "$result"
                hits[$fs $hit]=$((${hits[$fs $hit]:-0} + 1))
                ;;
            files) files=$((files + ${rest#* })) ;;
            mended) mended=$((mended + 1)) ;;
            at | idle)
                if [[ -z $cut ]] && [[ $word == idle || $rest == "$kind $step" ]]; then
                    cut=$((RANDOM % ${pause[$step]}))
                    sleep "$(printf '0.%03d' "$cut")"
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
    if [[ ${1:-} == last ]]; then
        ((status == 0)) && return
    elif [[ $cut ]]; then
        return
    fi
    echo "FAILED (CUTS_SEED=$seed, after $done_cuts cuts): the machine ended with status $status"
    tail -n 60 "$work/output" "$work/rig.log" 2>/dev/null
    exit 1
}

# The step to cut at next: one that was hit least, or any of them.
choose() {
    local least=1000 candidates=() fs at count
    for fs in ext4 xfs; do
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

while choose && ((done_cuts < ${cuts:-$most})); do
    boot
    done_cuts=$((done_cuts + 1))
done
boot last

printf '%-18s %5s %5s\n' "journal's last word" ext4 xfs
missed=0
for at in nothing "${steps[@]}"; do
    printf '%-18s %5d %5d\n' "$at" "${hits[ext4 $at]:-0}" "${hits[xfs $at]:-0}"
    if [[ ! $cuts && $at != nothing ]] && ((${hits[ext4 $at]:-0} < 2 || ${hits[xfs $at]:-0} < 2)); then missed=1; fi
done
echo "figures: $done_cuts power cuts, $((done_cuts * 2)) operations hit, $files synced files intact, copies of an XFS superblock written anew after $mended (CUTS_SEED=$seed)"
((missed == 0)) || { echo "FAILED: not every step was hit twice in $most cuts"; exit 1; }
