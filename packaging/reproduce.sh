#!/bin/bash
# Builds the packages of the checked-out commit twice and compares them byte for byte: in two clones whose paths differ
# in name and length, with two homes of cargo, two masks, zones and languages, at two times. And lintian has nothing to
# say.
#
#   reproduce.sh       KEEP=1 leaves both clones in target/reproduce
#
# The compiler, the linker and the packaging programs are the same ones for both: what is shown is that nothing of the
# place and the moment gets into the packages, not that any compiler would make them.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse HEAD)
git diff --quiet HEAD || echo "reproduce: changes that are not committed are not looked at" >&2
folder=$(pwd -P)/target/reproduce
one=$folder/a two=$folder/a-much-longer-name/of/another/checkout
rm -rf "$folder"
mkdir -p "$folder"
[[ ${KEEP:-} ]] || trap 'rm -rf "$folder"' EXIT

checkout() {
    git clone --quiet --no-checkout . "$1"
    git -C "$1" checkout --quiet --detach "$commit"
}

# The sources of the crates are copied, so that the second build has them at another path and fetches nothing again.
cargo fetch --locked --quiet
home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$folder/cargo-home"
cp -r "$home/registry" "$folder/cargo-home/"
for file in config.toml config; do
    [[ ! -e $home/$file ]] || cp "$home/$file" "$folder/cargo-home/"
done

began=$SECONDS
umask 022
checkout "$one"
env -u SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C "$one/packaging/build.sh" >"$folder/one.log" 2>&1 || { tail -n 30 "$folder/one.log"; exit 1; }
umask 077
checkout "$two"
env -u SOURCE_DATE_EPOCH TZ=Pacific/Chatham LC_ALL=C.UTF-8 CARGO_HOME="$folder/cargo-home" \
    "$two/packaging/build.sh" >"$folder/two.log" 2>&1 || { tail -n 30 "$folder/two.log"; exit 1; }

files=0 bytes=0 different=0
for file in "$one"/target/package/*.{deb,rpm} "$one"/target/package/*-static "$one"/target/package/SHA256SUMS; do
    files=$((files + 1)) bytes=$((bytes + $(stat -c %s "$file")))
    if ! cmp "$file" "$two/target/package/${file##*/}"; then different=$((different + 1)); fi
done
cat "$one/target/package/SHA256SUMS"
for place in "$folder" "$home" "$(rustc --print sysroot)"; do
    if grep -qaF "$place" "$one"/target/package/*-static; then
        echo "reproduce: the program names $place, a path of this machine"
        different=$((different + 1))
    fi
done
[[ $(find "$one/target/package" -maxdepth 1 -type f -printf '%f\n' | sort) == $(find "$two/target/package" -maxdepth 1 -type f -printf '%f\n' | sort) ]] ||
    { echo "reproduce: not the same files"; different=$((different + 1)); }
((different == 0)) || exit 1

command -v lintian >/dev/null || apt-get -qq -y install --no-install-recommends lintian man-db ||
    { apt-get -qq update && apt-get -qq -y install --no-install-recommends lintian man-db; }
lintian --fail-on error,warning "$one"/target/package/*.deb
echo "figures: $files files, $bytes bytes, the same from two checkouts of ${commit:0:12}, built in $((SECONDS - began)) s"
