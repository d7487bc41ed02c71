#!/bin/bash
# Has the real promtool and amtool, and the daemon itself, check the configs and rules that are shipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v promtool >/dev/null && command -v amtool >/dev/null; then
    tools=''
else
    tools=$(tests/vm/rig.sh tools)/
fi
"${tools}promtool" check rules alerts/*.yml
"${tools}promtool" test rules alerts/tests/*.yml
"${tools}promtool" check config configs/prometheus.yml
"${tools}amtool" check-config configs/alertmanager.yml
cargo run --quiet --locked -- check-config configs/config.yaml
