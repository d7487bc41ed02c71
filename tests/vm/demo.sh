#!/bin/bash
# The demo: builds the daemon and tests/vm/demo.rs and runs them in the virtual machine with a real Prometheus and
# Alertmanager and the shipped configs. Exits 0 when volumes and file systems grew as planned.
#
#   demo.sh          ends by itself
#   LVM_AUTOSCALER_UNIT=1 demo.sh   under systemd, with the services of the packages
#   KEEP=1 demo.sh   stays up and prints addresses to open; Ctrl-C ends it, or four hours
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

# shellcheck source=tests/vm/build.sh
. "$here/build.sh"
build_share demo
rm -rf "$share/configs" "$share/alerts"
cp -r configs alerts "$share/"

options=(--timeout 420) keep=() variables=()
if [[ ${KEEP:-} ]]; then
    options=(--timeout 14400 --forward 19845:19846 --forward 19090:9090 --forward 19093:9093)
    keep=(keep)
fi
if [[ ${LVM_AUTOSCALER_UNIT:-} ]]; then
    options+=(--systemd --timeout 900)
    variables=(LVM_AUTOSCALER_UNIT=1)
fi
exec "$here/rig.sh" run "${options[@]}" "$share" env "${variables[@]}" ./start demo "${keep[@]}"
