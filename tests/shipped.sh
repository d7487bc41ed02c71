#!/bin/bash
# Checks what is shipped for others to paste: rules, configs, dashboards. First what can be said by reading them, with
# the real promtool and amtool and with Grafana's types; then all of it at work, in tests/shipped/live.py.
#
# What this machine cannot do is named; with REQUIRE_ALL=1 it is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skipped() {
    echo "SKIPPED: $*"
    [[ -z ${REQUIRE_ALL:-} ]] || { echo "REQUIRE_ALL is set and something was skipped"; exit 1; }
}

# The daemon and what it says of its own configs.
# shellcheck source=tests/common/daemon.sh
. tests/common/daemon.sh
# A checkout may belong to anybody.
for config in configs/config.yaml configs/full.yaml; do "$daemon" check-config --ignore-ownership "$config"; done

tools=''
installed() { for name in "$@"; do command -v "$name" >/dev/null || return 1; done; }
if installed promtool amtool prometheus alertmanager; then
    tools=$(dirname "$(command -v promtool)")
elif [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    tools=$(tests/vm/rig.sh tools)
fi

if [[ $tools ]]; then
    "$tools/promtool" check rules alerts/*.yml
    "$tools/promtool" test rules alerts/tests/*.yml
    "$tools/promtool" check config configs/prometheus.yml
    for page in tests/golden/*.prom; do "$tools/promtool" check metrics <"$page" || { echo "$page"; exit 1; }; done
    "$tools/amtool" check-config configs/alertmanager.yml
    # It wants the certificates to be there.
    web=$(mktemp -d)
    cp configs/web-config.yml "$web"
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -keyout "$web/server.key" -out "$web/server.crt" 2>/dev/null
    "$tools/promtool" check web-config "$web/web-config.yml"
    rm -r "$web"
    # routed RECEIVER LABEL=VALUE...
    routed() { "$tools/amtool" config routes test --config.file=configs/alertmanager.yml --verify.receivers="$1" "${@:2}"; }
    routed lvm-autoscaler alertname=LvmFileSystemFilling severity=warning lvm_autoscaler=extend instance=db1 vg=v lv=l mountpoint=/data
    routed lvm-autoscaler alertname=LvmFileSystemFilling severity=warning lvm_autoscaler=extend cluster=east instance=db1 vg=v lv=l mountpoint=/data
    routed people alertname=LvmFileSystemNearlyFull severity=critical instance=db1 vg=v lv=l
    routed people alertname=SomebodyElses severity=warning
else
    skipped "promtool and amtool (install them, or run as root on a Debian machine)"
fi

# A Python of our own, so that nothing is installed on the machine.
python=target/shipped/bin/python
if ! cmp -s tests/shipped/requirements.txt target/shipped/requirements.txt; then
    rm -rf target/shipped
    if ! python3 -m ensurepip --version >/dev/null 2>&1 && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv >/dev/null
    fi
    if command -v python3 >/dev/null && python3 -m venv target/shipped >/dev/null 2>&1 &&
        "$python" -m pip install --quiet --disable-pip-version-check -r tests/shipped/requirements.txt; then
        cp tests/shipped/requirements.txt target/shipped/
    else
        rm -rf target/shipped
    fi
fi
if [[ ! -x $python ]]; then
    skipped "dashboards and the live check (they need python3 with venv, and PyPI)"
    exit 0
fi
python3 dashboards/generate.py --check
"$python" tests/shipped/check.py
if [[ $tools ]]; then
    "$python" tests/shipped/clusters.py "$tools/promtool"
    "$python" tests/shipped/live.py "$tools" "$daemon"
    "$python" tests/shipped/edge.py "$tools" "$daemon"
else
    skipped "the live check (it needs prometheus and alertmanager)"
fi
