#!/bin/bash
# Notifications and audit log at work: the daemon on a simulated host, real SMTP servers with STARTTLS or TLS and
# authentication, HTTP and HTTPS receivers that fail first, receivers that are dead or replaced by a reload, a full
# disk; in tests/tell/live.py. Everything on loopback.
#
# What this machine cannot do is named; with REQUIRE_ALL=1 it is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=tests/common/daemon.sh
. tests/common/daemon.sh

# A Python of our own, so that nothing is installed on the machine but what is needed to make one.
python=target/tell/bin/python
if ! cmp -s tests/tell/requirements.txt target/tell/requirements.txt; then
    rm -rf target/tell
    if ! { python3 -m ensurepip --version && command -v openssl; } >/dev/null 2>&1 && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv openssl >/dev/null
    fi
    if command -v python3 >/dev/null && python3 -m venv target/tell >/dev/null 2>&1 &&
        "$python" -m pip install --quiet --disable-pip-version-check -r tests/tell/requirements.txt; then
        cp tests/tell/requirements.txt target/tell/
    else
        rm -rf target/tell
    fi
fi
if [[ ! -x $python ]] || ! command -v openssl >/dev/null; then
    echo "SKIPPED: notifications and audit log at work (they need python3 with venv, PyPI and openssl)"
    [[ -z ${REQUIRE_ALL:-} ]] || { echo "REQUIRE_ALL is set and something was skipped"; exit 1; }
    exit 0
fi
"$python" tests/tell/live.py "$daemon"
