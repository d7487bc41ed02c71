# shellcheck shell=bash
# Sourced by run.sh and demo.sh. build_share TEST: builds the daemon and the test program TEST and puts both, with a
# program that starts the latter, into the folder $share, which the guest is given. With build_share TEST --release the
# daemon is optimised, as what is shipped; the test program only drives it.

build_share() {
    local triple=x86_64-unknown-linux-gnu test=$1 program profile=("${@:2}")
    local built=(env -u RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" cargo)
    program=$("${built[@]}" test --locked --no-run --target "$triple" --bin lvm-autoscaler --test "$test" --message-format=json-render-diagnostics |
        sed -n "s/.*\"name\":\"$test\".*\"executable\":\"\([^\"]*\)\".*/\1/p" | tail -n 1)
    # Without --release it was built with the tests, and to build it alone would build what it needs with other
    # features.
    ((${#profile[@]} == 0)) || "${built[@]}" build --locked "${profile[@]}" --target "$triple" --bin lvm-autoscaler
    [[ $program ]] || { echo "cargo built no test named $test" >&2; return 1; }
    local daemon
    daemon=$(dirname "$(dirname "$(dirname "$program")")")/$([[ ${profile[*]} == --release ]] && echo release || echo debug)/lvm-autoscaler
    share=$(dirname "$(dirname "$program")")/vm-share-$test
    mkdir -p "$share"
    slim "$program" "$share/$test"
    slim "$daemon" "$share/lvm-autoscaler"
    cp tests/split.sh tests/unit.sh "$share/"
    mkdir -p "$share/units"
    cp packaging/systemd/lvm-autoscaler.service packaging/web/lvm-autoscaler-web.service "$share/units/"
    # What is given to users and tried in the guest, see troubles.rs.
    rm -rf "$share/shipped"
    mkdir "$share/shipped"
    cp -r alerts configs docs/runbooks "$share/shipped/"
    # From the guest's own memory, because over the shared folder every page of a program is a question to the host.
    cat >"$share/start" <<'START'
#!/bin/bash
set -e
mkdir -p /tmp/bin
cp -r "$1" lvm-autoscaler split.sh unit.sh units shipped /tmp/bin/
exec "/tmp/bin/$1" "${@:2}"
START
    # One test after the other, each a process with a deadline of its own: what waits for ever fails by itself and is
    # named, and what fails is printed when it happens. The lines are those of libtest, which tests/all.sh counts.
    # each DEADLINE SECONDS TEST... -- TEST...: none of those behind the -- begins when so many seconds are over.
    cat >"$share/each" <<'EACH'
#!/bin/bash
deadline=$1 seconds=$2
shift 2
passed=0 failed=() left=0 may_wait=
# Tests set the clock.
uptime() { local up; read -r up _ </proc/uptime; echo "${up%.*}"; }
[[ -x /tmp/bin/vm ]] || ./start vm --list >/dev/null
for name; do
    if [[ $name == -- ]]; then may_wait=1; continue; fi
    if [[ $may_wait ]] && (($(uptime) >= seconds)); then
        left=$((left + 1))
        echo "test $name ... left out: the time is over"
        continue
    fi
    began=$EPOCHREALTIME
    said=$(timeout -k 10 "$deadline" /tmp/bin/vm --ignored --exact --nocapture --test-threads=1 "$name" 2>&1)
    status=$?
    took=$(awk -v b="$began" -v e="$EPOCHREALTIME" 'BEGIN { printf "%.1f", e - b }')
    grep -Ev '^(running 1 test|test result: .*|)$' <<<"$said"
    if ((status == 0)) && grep -q '^test result: ok. 1 passed' <<<"$said"; then
        passed=$((passed + 1))
        echo "test $name ... ok, $took s"
    else
        failed+=("$name")
        ((status != 124 && status != 137)) || echo "the deadline of $deadline s has passed"
        echo "test $name ... FAILED, $took s"
    fi
done
echo "test result: $( ((${#failed[@]})) && echo FAILED || echo ok). $passed passed; ${#failed[@]} failed; $left ignored;"
((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[@]}"; exit 1; }
EACH
    chmod +x "$share/start" "$share/each"
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

# Without debug information half is left to be copied at each boot; a panic still says where it was. strip comes with
# the linker that cargo uses; should that be another one, the whole is copied.
slim() {
    rm -f "$2"
    if command -v strip >/dev/null; then
        strip --strip-debug -o "$2" "$1"
    else
        cp "$1" "$2"
    fi
}
