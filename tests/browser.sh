#!/bin/bash
# The status page and the HTML report in a real Chromium; installs what it needs where it can. What this machine cannot
# do is named; with REQUIRE_ALL=1 it is a failure. PICTURES=FOLDER keeps the screenshots.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skipped() {
    echo "SKIPPED: the status page and the report in a browser ($*)"
    [[ -z ${REQUIRE_ALL:-} ]] || { echo "REQUIRE_ALL is set and something was skipped"; exit 1; }
    exit 0
}

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if ((${#missing[@]})); then
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || skipped "it needs ${missing[*]}, or root on a Debian machine"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" fonts-dejavu-core >/dev/null ||
        skipped "apt-get cannot install ${missing[*]}"
fi

# Its own folder, so that nothing is installed into the project.
tools=target/browser
mkdir -p "$tools"
cp tests/browser/{look.js,package.json,host.yaml,config.yaml} "$tools/"
(cd "$tools" && npm install --silent --no-audit --no-fund --no-package-lock >/dev/null 2>&1) || skipped "npm cannot fetch playwright-core"

# shellcheck source=tests/common/daemon.sh
. tests/common/daemon.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
node "$tools/look.js" "$(command -v chromium)" "$daemon" "$folder" "${PICTURES:-$folder/pictures}"
