#!/bin/bash
# What all drills stand on: scene.sh DRILL runs one, on loop devices and volume groups whose names begin with drill_.
set -euo pipefail
export LC_ALL=C
work=$(mktemp -d /tmp/drill.XXXXXX)
began=$EPOCHREALTIME
# shellcheck source=tests/vm/follow.sh
. ./follow.sh

say() { awk -v a="$began" -v b="$EPOCHREALTIME" -v t="$*" 'BEGIN { printf "%5.1f s  %s\n", b - a, t }'; }
fail() {
    say "FAILED: $*"
    tail -n 30 "$work/log" 2>/dev/null | sed 's/^/      /' || true
    curl -s http://127.0.0.1:19845/metrics | grep -E '^lvm_(autoscaler_(operations|refusals)_total|vg_missing|lv_healthy|up|collector_success)' || true
    exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# disk NAME SIZE: a loop device; its path is in the variable NAME. $work is on the guest's tmpfs.
disk() {
    truncate -s "$2" "$work/$1.img"
    printf -v "$1" %s "$(losetup --find --show "$work/$1.img")"
    export "${1?}"
}

# fragile NAME OTHER-NAME...: puts a linear mapping, /dev/mapper/drill_disk, over the disk NAME. LVM sees that and the
# other disks and not what is below; by names that it may see, because each device has several.
fragile() {
    local name others=
    for name in "${@:2}"; do others+="\"a|^${!name}\$|\", "; done
    printf '%s\n' "devices { filter = [ \"a|^/dev/mapper/|\", $others\"r|.*|\" ] }" >/etc/lvm/lvmlocal.conf
    dmsetup create drill_disk --table "0 $(blockdev --getsz "${!1}") linear ${!1} 0"
}

# daemon CONFIG-LINES: starts it; `alert` talks to it.
daemon() {
    cat >"$work/config.yaml" <<YAML
state: { directory: $work/state }
inventory: { ${inventory:-interval: 2s} }
webhook: { instances: [drill] }
$1
YAML
    lvm-autoscaler check-config "$work/config.yaml" >/dev/null || fail "the drill's config"
    start_daemon
}
start_daemon() {
    lvm-autoscaler serve --config.file="$work/config.yaml" --web.listen-address=127.0.0.1:19845 2>>"$work/log" &
    pid=$!
    until_true 60 "the daemon is ready" curl -sf -o /dev/null http://127.0.0.1:19845/-/ready
}
stop_daemon() {
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
}

until_true() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "not in time: $what"
        sleep 0.3
    done
}

# alert LV: as Alertmanager sends it; it comes again, as Alertmanager's does.
alert() {
    curl -sS -o "$work/answer" -H 'Content-Type: application/json' http://127.0.0.1:19845/webhook/alertmanager -d '{"version":"4",
        "status":"firing","receiver":"r","groupKey":"g","groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"",
        "truncatedAlerts":0,"alerts":[{"status":"firing","labels":{"alertname":"drill","instance":"drill:19845","vg":"'"${1%/*}"'",
        "lv":"'"${1#*/}"'"},"annotations":{},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"",
        "fingerprint":"0123456789abcdef"}]}'
}

metric() { curl -s http://127.0.0.1:19845/metrics | awk -v m="$1" 'index($0, m) == 1 { print $NF; found = 1 } END { exit !found }'; }
seen() { curl -s http://127.0.0.1:19845/metrics | grep -E "$1" >/dev/null; } # REGEX of a line of the metrics
metric_is() { awk -v is="$(metric "$1")" -v wanted="$2" 'BEGIN { exit !(is != "" && is + 0 == wanted) }'; }
lv_bytes() { lvs --noheadings --units b --nosuffix -o lv_size "$1" | tr -d ' '; }
grew() { (($(lv_bytes "$1") > $2)); }
fs_bytes() { df -B1 --output=size "$1" | tail -n 1 | tr -d ' '; }
fs_grew() { (($(fs_bytes "$1") > $2)); }

# fill MOUNT PERCENT
fill() {
    local size avail
    size=$(df --output=size "$1" | tail -n 1) avail=$(df --output=avail "$1" | tail -n 1)
    fallocate -l "$((size * $2 / 100 - (size - avail)))K" "$1/fill.$RANDOM"
}

# precious MOUNT: files whose checksums `intact` compares.
precious() {
    mkdir -p "$1/precious"
    for n in 1 2 3; do head -c 3000000 /dev/urandom >"$1/precious/$n"; done
    sync -f "$1"
    (cd "$1" && sha256sum precious/*) >"$work/sums"
}
intact() {
    (cd "$1" && sha256sum --quiet --check "$work/sums") || fail "data was lost"
    say "every precious file is intact"
}

# full_volume KIND: drill_vg/data takes all of its group, with a file system at $work/data and precious files on it.
full_volume() {
    lvcreate -q -y -l 100%FREE -n data drill_vg
    "mkfs.$1" -q /dev/drill_vg/data
    mkdir "$work/data"
    mount /dev/drill_vg/data "$work/data"
    precious "$work/data"
}

cleanup() {
    set +e
    trap - ERR
    [[ -z ${pid:-} ]] || stop_daemon
    mount | awk -v w="$work" '$3 ~ "^" w { print $3 }' | sort -r | xargs -r umount -l
    for vg in $(vgs --noheadings -o vg_name 2>/dev/null | grep -w 'drill_[a-z]*'); do vgremove -ff -y "$vg" >/dev/null 2>&1; done
    dmsetup ls 2>/dev/null | awk '/^drill_/ { print $1 }' | xargs -r -n 1 dmsetup remove -f >/dev/null 2>&1
    rm -f /etc/lvm/lvmlocal.conf
    losetup -l -n -O NAME,BACK-FILE | awk -v w="$work" 'index($2, w) { print $1 }' | xargs -r -n 1 losetup -d
    rm -rf --one-file-system "$work"
} >/dev/null 2>&1
trap cleanup EXIT

# shellcheck source=/dev/null
. "$1"
