#!/bin/bash
# Fleets: real Alertmanagers (bookworm's 0.25, and one whose `url` is a template) and five daemons on simulated hosts,
# each in a network namespace of its own, reached in all three ways that docs/fleets.md describes. What is asserted is
# in tests/fleet.py, which runs in a sixth namespace; all of them are made here and removed at the end.
#
# Needs root, ip and apt. What this machine cannot do is named; with REQUIRE_ALL=1 it is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skipped() {
    echo "SKIPPED: fleets with real Alertmanagers ($*)"
    [[ -z ${REQUIRE_ALL:-} ]] || { echo "REQUIRE_ALL is set and something was skipped"; exit 1; }
    exit 0
}

[[ $(id -u) == 0 ]] || skipped "it needs root"
command -v apt-get >/dev/null || skipped "it needs apt"
command -v python3 >/dev/null || skipped "it needs python3"
if ! command -v ip >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y iproute2 >/dev/null
fi

# Everything of ours begins with this, and nothing else on any machine does.
prefix=lvmas-fleet
hosts=5
remove() {
    local name
    for name in hub $(seq "$hosts"); do
        # What still runs in there ends with it; it is all ours.
        ip netns pids "$prefix-$name" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns delete "$prefix-$name" 2>/dev/null || true
    done
}

# shellcheck source=tests/common/daemon.sh
. tests/common/daemon.sh
older=$(tests/vm/rig.sh alertmanager bookworm)
newer=$(tests/vm/rig.sh alertmanager forky) || newer=$(tests/vm/rig.sh alertmanager sid)

remove
ip netns add "$prefix-hub" 2>/dev/null || skipped "it needs network namespaces"
trap remove EXIT
inside() { ip netns exec "$prefix-$1" "${@:2}"; }
inside hub ip link add bridge type bridge
inside hub ip address add 10.231.77.254/24 dev bridge
inside hub ip link set bridge up
inside hub ip link set lo up
for n in $(seq "$hosts"); do
    ip netns add "$prefix-$n"
    inside hub ip link add "port$n" type veth peer name eth0 netns "$prefix-$n"
    inside hub ip link set "port$n" master bridge up
    inside "$n" ip address add "10.231.77.$n/24" dev eth0
    inside "$n" ip link set eth0 up
    inside "$n" ip link set lo up
done
inside hub python3 tests/fleet.py "$daemon" "$older" "$newer" "$prefix"
