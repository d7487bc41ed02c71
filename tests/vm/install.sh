#!/bin/bash
# Installs the .deb in a fresh virtual machine with systemd, follows docs/deployment.md literally, and more: growth of ext4
# and XFS under the real unit, a stop in the middle of a step, the watchdog, a reboot, upgrade, removal.
#
#   install.sh [SUITE...]      Debian releases [bookworm trixie]
#
# Uses target/package, and builds it if it is not there; PACKAGE=fresh builds it anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
(($#)) || set -- bookworm trixie

if [[ ${PACKAGE:-} == fresh ]] || ! compgen -G 'target/package/*.deb' >/dev/null; then
    packaging/build.sh
fi

for suite; do
    share=$(mktemp -d)
    trap 'rm -rf "$share"' EXIT
    cp target/package/*.deb target/package/*.rpm "$share/"
    cp docs/deployment.md "$here/install-test" "$here/follow.sh" "$share/"
    # The volume groups live on disks of their own, so that they are there after the reboot as a host's are.
    truncate -s 3G "$share/disk1"
    truncate -s 3G "$share/disk2"
    echo "install: $suite"
    "$here/rig.sh" run --systemd --suite "$suite" --timeout 1500 --disk "$share/disk1" --disk "$share/disk2" \
        "$share" ./install-test
    rm -rf "$share"
done
