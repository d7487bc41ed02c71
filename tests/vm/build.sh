# shellcheck shell=bash
# Sourced by run.sh and demo.sh. build_share TEST: builds the daemon and the test program TEST and puts both, with a
# program that starts the latter, into the folder $share, which the guest is given. With build_share TEST --release the
# daemon is optimised, as what is shipped; the test program only drives it.

build_share() {
    local triple=x86_64-unknown-linux-gnu test=$1 program profile=("${@:2}")
    local built=(env -u RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" cargo)
    program=$("${built[@]}" test --locked --no-run --target "$triple" --bin lvm-autoscaler --test "$test" --message-format=json-render-diagnostics |
        sed -n "s/.*\"name\":\"$test\".*\"executable\":\"\([^\"]*\)\".*/\1/p" | tail -n 1)
    "${built[@]}" build --locked "${profile[@]}" --target "$triple" --bin lvm-autoscaler
    [[ $program ]] || { echo "cargo built no test named $test" >&2; return 1; }
    local daemon
    daemon=$(dirname "$(dirname "$(dirname "$program")")")/$([[ ${profile[*]} == --release ]] && echo release || echo debug)/lvm-autoscaler
    share=$(dirname "$(dirname "$program")")/vm-share-$test
    mkdir -p "$share"
    slim "$program" "$share/$test"
    slim "$daemon" "$share/lvm-autoscaler"
    # From the guest's own memory, because over the shared folder every page of a program is a question to the host.
    cat >"$share/start" <<'START'
#!/bin/bash
set -e
mkdir -p /tmp/bin
cp "$1" lvm-autoscaler /tmp/bin/
exec "/tmp/bin/$1" "${@:2}"
START
    chmod +x "$share/start"
}

# build_daemon NAME: the daemon alone, into the folder $share.
build_daemon() {
    local triple=x86_64-unknown-linux-gnu
    env -u RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --quiet --locked --target "$triple" --bin lvm-autoscaler
    share=$(realpath "${CARGO_TARGET_DIR:-target}")/$triple/vm-share-$1
    mkdir -p "$share"
    cp "$(dirname "$share")/debug/lvm-autoscaler" "$share/"
}

# Without debug information half is left to be copied at each boot; a panic still says where it was. strip comes with the
# linker that cargo uses; should that be another one, the whole is copied.
slim() {
    rm -f "$2"
    if command -v strip >/dev/null; then
        strip --strip-debug -o "$2" "$1"
    else
        cp "$1" "$2"
    fi
}
