#!/bin/bash
# Builds what is given to users into target/package: the static program, a .deb, an .rpm, man pages and completions.
# The same commit gives the same bytes, wherever it is checked out: paths are mapped away and times are the commit's.
#
# musl, or glibc where Rust's musl target is not installed and cannot be: also static, but to resolve a name such a
# program loads the C library of the machine it runs on, which may be of another version. It says so.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=target CARGO_INCREMENTAL=0 LC_ALL=C TZ=UTC
umask 022

: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

triple=x86_64-unknown-linux-musl
musl_is_here() { [[ -d $(rustc --print target-libdir --target "$triple") ]]; }
if ! musl_is_here && ! { rustup target add "$triple" >&2 && musl_is_here; }; then
    echo "package: no Rust target $triple, built with glibc instead; \`rustup target add $triple\` adds it" >&2
    triple=x86_64-unknown-linux-gnu
fi
flags="-C target-feature=+crt-static" maps=""
for pair in "$(pwd -P)=/build" "${CARGO_HOME:-$HOME/.cargo}=/cargo" "$(rustc --print sysroot)=/rust"; do
    flags+=" --remap-path-prefix=$pair"
    maps+=" -ffile-prefix-map=$pair"
done

if ! command -v lowdown >/dev/null; then
    apt-get -qq -y install --no-install-recommends lowdown || { apt-get -qq update && apt-get -qq -y install lowdown; }
fi >&2
.ci/tool cargo-deb 3.8.0
.ci/tool cargo-generate-rpm 0.21.1

env -u RUSTFLAGS CFLAGS="$maps" CC_x86_64_unknown_linux_musl=gcc \
    "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$triple")_RUSTFLAGS=$flags" \
    cargo build --locked --release --target "$triple" --bin lvm-autoscaler
program=target/$triple/release/lvm-autoscaler
if readelf --program-headers "$program" | grep -q INTERP; then
    echo "package: $program is not static" >&2
    exit 1
fi

# Cargo.toml names these files for both kinds of package.
stage=target/package/stage
rm -rf target/package
mkdir -p "$stage"
install -m 755 "$program" "$stage/"
cargo run --quiet --locked --example packaging -- "$stage"
# config(5) is docs/configuration.md, with the section that man and apropos look for and without links to other files.
sed -E '1c # NAME\n\nlvm-autoscaler-config - configuration of lvm-autoscaler\n\n# DESCRIPTION
        s/\[([^]]*)\]\([^)]*\)/\1/g' docs/configuration.md |
    lowdown -s -Tman -M title=lvm-autoscaler-config -M section=5 | sed -E '/^\.S[HS]$/{N;s/\n/ /}' >"$stage/man/lvm-autoscaler-config.5"
gzip -9n "$stage"/man/*
version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
gzip -9nc CHANGELOG.md >"$stage/changelog.gz"
cat >"$stage/changelog.Debian" <<CHANGES
lvm-autoscaler ($version-1) unstable; urgency=medium

  * What changed is in changelog.gz beside this file.

 -- $(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)  $(date -uRd "@$SOURCE_DATE_EPOCH")
CHANGES
find "$stage" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

cargo deb --quiet --no-build --no-strip --output target/package/
cargo generate-rpm --source-date "$SOURCE_DATE_EPOCH" --output target/package/
cp "$stage/lvm-autoscaler" "target/package/lvm-autoscaler-$version-x86_64-static"
cd target/package
sha256sum -- *.deb *.rpm *-static | tee SHA256SUMS
