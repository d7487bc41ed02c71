#!/bin/bash
# Installs the .deb in a fresh virtual machine with systemd, follows docs/deployment.md literally, and more: growth of
# ext4 and XFS under the real unit, a stop and a hang in the middle of a step, a reboot, the socket unit, upgrade,
# removal, purge; and the .rpm's life, as far as Debian's rpm can live it.
#
#   install.sh [SUITE...]      Debian releases [bookworm trixie]
#
# PACKAGE=kept takes target/package as it is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
(($#)) || set -- bookworm trixie

[[ ${PACKAGE:-} == kept ]] || packaging/build.sh

share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
mkdir "$share/first" "$share/newer" "$share/older"
cp target/package/*.deb target/package/*.rpm "$share/first/"

# The same program as a newer version, with another default config, at which dpkg and rpm have to choose.
version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)+newer
dpkg-deb -R "$share"/first/*.deb "$share/unpacked"
sed -i "s/^Version: .*/Version: $version/" "$share/unpacked/DEBIAN/control"
echo '# Of a newer version.' >>"$share/unpacked/etc/lvm-autoscaler/config.yaml"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$share/unpacked" "$share/newer/lvm-autoscaler_${version}_amd64.deb" >/dev/null
cargo generate-rpm --output "$share/newer/" --set-metadata "version = \"$version\"" \
    --set-metadata "assets = [{ source = \"$share/unpacked/etc/lvm-autoscaler/config.yaml\", dest = \"/etc/lvm-autoscaler/config.yaml\", mode = \"640\", config = \"noreplace\" },
        { source = \"target/package/stage/lvm-autoscaler\", dest = \"/usr/bin/\", mode = \"755\" },
        { source = \"packaging/systemd/lvm-autoscaler.service\", dest = \"/usr/lib/systemd/system/\", mode = \"644\" },
        { source = \"packaging/web/lvm-autoscaler-web.service\", dest = \"/usr/lib/systemd/system/\", mode = \"644\" },
        { source = \"packaging/web/lvm-autoscaler-web.socket\", dest = \"/usr/lib/systemd/system/\", mode = \"644\" },
        { source = \"packaging/sysusers/lvm-autoscaler.conf\", dest = \"/usr/lib/sysusers.d/\", mode = \"644\" }]"
# And as it was in 0.1: one service that is everything, no web process and no user for one.
sed -i 's/^Version: .*/Version: 0.1.0~older/' "$share/unpacked/DEBIAN/control"
sed -i 's/systemd-sysusers .*/:/' "$share/unpacked/DEBIAN/postinst"
cp "$here/lvm-autoscaler-0.1.service" "$share/unpacked/usr/lib/systemd/system/lvm-autoscaler.service"
rm "$share/unpacked/usr/lib/systemd/system/lvm-autoscaler-web.service" "$share/unpacked/usr/lib/sysusers.d/lvm-autoscaler.conf"
(cd "$share/unpacked" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$share/md5sums"
mv "$share/md5sums" "$share/unpacked/DEBIAN/"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$share/unpacked" "$share/older/lvm-autoscaler_0.1.0~older_amd64.deb" >/dev/null
rm -r "$share/unpacked"

cp docs/deployment.md "$here/install-test" "$here/follow.sh" "$share/"
took=()
for suite; do
    # The volume groups live on disks of their own, so that they are there after the reboot as a host's are.
    rm -f "$share"/disk?
    truncate -s 3G "$share/disk1"
    truncate -s 3G "$share/disk2"
    echo "install: $suite"
    began=$SECONDS
    "$here/rig.sh" run --systemd --suite "$suite" --timeout 2400 --disk "$share/disk1" --disk "$share/disk2" \
        "$share" ./install-test 2>&1 | tee "$share/log"
    took+=("$suite $((SECONDS - began)) s, exposure $(sed -n 's/.*systemd-analyze security: \([0-9.]*\),.*/\1/p' "$share/log")")
done
printf -v figures ', %s' "${took[@]}"
echo "figures: ${figures#, }"
