#!/bin/bash
# Stands for the program in tests: `serve` is then the same daemon as two processes, engine and web, and anything else
# is the program itself. What both say comes on standard error; a signal goes to whom it is for. PROGRAM is the program;
# else it lies beside this file.
set -u
program=${PROGRAM:-$(dirname "$0")/lvm-autoscaler}
if [[ ${1:-} != serve ]]; then exec "$program" "$@"; fi
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Neither outlives this shell, however it ends.
setpriv --pdeathsig KILL "$program" engine --engine.socket="$folder/engine.sock" "$@" & engine=$!
setpriv --pdeathsig KILL "$program" web --engine.socket="$folder/engine.sock" "$@" & web=$!
stopping=
stop() {
    stopping=1
    kill -TERM "$web" "$engine" 2>/dev/null
}
trap stop TERM INT
trap 'kill -HUP "$engine"' HUP
status=0
while jobs -r %% >/dev/null 2>&1; do
    wait -n -p ended
    code=$?
    # A signal interrupts the wait.
    [[ -n ${ended:-} ]] || continue
    ((code == 0 || status != 0)) || [[ -n $stopping ]] || status=$code
    unset ended
    [[ -n $stopping ]] || stop
    [[ -n $(jobs -r) ]] || break
done
exit "$status"
