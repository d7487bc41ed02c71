#!/bin/bash
# In the guest: runs scenes one after the other, each in a shell and on volume groups of its own; all of them, or those
# named.
set -uo pipefail
cd "$(dirname "$0")" || exit
install lvm-autoscaler /usr/local/sbin/
if (($# == 0)); then
    for scene in scenes/*.sh; do set -- "$@" "$(basename "$scene" .sh)"; done
fi
passed=0 failed=()
for scene; do
    echo
    echo "== $scene"
    began=$EPOCHREALTIME
    if bash ./scene.sh "scenes/$scene.sh"; then verdict=passed && passed=$((passed + 1)); else verdict=FAILED && failed+=("$scene"); fi
    awk -v a="$began" -v b="$EPOCHREALTIME" -v s="$scene" -v v="$verdict" 'BEGIN { printf "== %s: %s in %.0f s\n", s, v, b - a }'
done
echo
echo "$passed passed, ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
((passed > 0 && ${#failed[@]} == 0))
