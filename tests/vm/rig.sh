#!/bin/bash
# Runs a command in a throw-away virtual machine with real LVM. README.md beside this file tells how it works.
#
#   rig.sh prepare [SUITE]                    build what `run` needs (bookworm, bullseye or trixie)
#   rig.sh run [OPTION...] SHARE CMD [ARG...] boot, run CMD in SHARE (/mnt/share in the guest), exit with its status
#       --suite SUITE        Debian release of the guest [bookworm]
#       --systemd            with systemd as process 1, as installed; CMD is a service and may reboot: it is then run
#                            again
#       --timeout SECONDS    then the machine is killed and the status is 124 [600]
#       --memory SIZE        [3G]
#       --disk FILE[,OPTION] image file as the next disk, /dev/vdb and on; survives the run (repeatable). OPTION: QEMU's
#       --pidfile FILE       QEMU's process number goes there, for who wants to cut the power
#       --forward HOST:GUEST TCP port on the host's loopback to the guest (repeatable)
#   rig.sh alertmanager SUITE                 print a folder with that suite's alertmanager and amtool for the host
#   rig.sh tools                              print a folder with prometheus promtool alertmanager amtool for the host
#
# Statuses of its own: 124 deadline passed, 125 the guest or the rig failed (or the guest cut its own power).
# Variables: VM_CACHE, VM_ACCEL=tcg|kvm, VM_MIRROR, VM_KEYRING, VM_KERNEL (a package).
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VM_CACHE:-$here/../../target/vm}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

guest_packages=lvm2,thin-provisioning-tools,xfsprogs,e2fsprogs,btrfs-progs,cryptsetup-bin,dmsetup,udev,kmod,procps
guest_packages+=,strace,cloud-guest-utils,fdisk,gdisk,iproute2,util-linux,mount,prometheus,prometheus-alertmanager,curl,ca-certificates
systemd_packages=$guest_packages,systemd-sysv,dbus,e2fsprogs,rpm
boot_modules="virtio_pci virtio_blk virtio_console crc32c_generic ext4 9p 9pnet_virtio"
guest_modules="dm-mod dm-thin-pool dm-snapshot dm-raid dm-crypt dm-mirror dm-cache loop ext4 xfs btrfs"

say() { echo "rig: $*" >&2; }
die() { say "$*"; exit 125; }

# The package lists of a new machine are missing and those of an old one stale: only after a failure is it worth to
# fetch them.
apt() {
    local quiet=(apt-get -qq -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0)
    export DEBIAN_FRONTEND=noninteractive
    "${quiet[@]}" "$@" >&2 && return
    say "apt-get $1 failed, trying again with fresh package lists"
    "${quiet[@]}" update >&2
    "${quiet[@]}" "$@" >&2
}

# Unpacks packages below the folder $1; nothing is installed, so nothing is started.
unpack() {
    local into=$1 debs
    shift
    debs=$(mktemp -d "$into/debs.XXXXXX")
    (cd "$debs" && apt download "$@")
    for deb in "$debs"/*.deb; do dpkg -x "$deb" "$into"; done
    rm -r "$debs"
}

# step NAME ASKED RECIPE: the folder $cache/NAME, made by the function RECIPE unless it is there, made from the same
# ASKED by the same function.
step() {
    local name=$1 asked=$2 recipe=$3 key
    key=$({ echo "$asked"; declare -f "$recipe"; } | sha256sum)
    if [[ -e $cache/$name/.key && $(<"$cache/$name/.key") == "$key" ]]; then return; fi
    say "preparing $name"
    rm -rf --one-file-system "$cache/$name.new"
    mkdir "$cache/$name.new"
    "$recipe" "$cache/$name.new"
    echo "$key" >"$cache/$name.new/.key"
    rm -rf "${cache:?}/$name"
    mv "$cache/$name.new" "$cache/$name"
}

host_packages() {
    local missing=() pair
    for pair in qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap depmod:kmod cpio:cpio xz:xz-utils zstd:zstd \
        mke2fs:e2fsprogs; do
        command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if ((${#missing[@]})); then
        say "installing ${missing[*]}"
        apt install --no-install-recommends "${missing[@]}"
    fi
}

make_kernel() {
    local package
    apt-cache show "$kernel" >/dev/null 2>&1 || apt update
    package=$(apt-cache depends "$kernel" | awk '$1 == "Depends:" && $2 ~ /^linux-image/ { print $2; exit }')
    unpack "$1" "${package:-$kernel}"
    unpack "$1" busybox-static
    [[ -e $1/lib ]] || ln -s usr/lib "$1/lib"
    basename "$1"/lib/modules/* >"$1/version"
    # Most of the 400 MB are drivers of hardware that the guest doesn't have.
    (
        cd "$1/lib/modules/$(<"$1/version")/kernel"
        rm -rf sound drivers/net/{ethernet,wireless,wwan,can,usb,phy}
        find drivers -mindepth 1 -maxdepth 1 ! -name block ! -name md ! -name char ! -name net ! -name virtio ! -name scsi -exec rm -r {} +
        # Disks in memory that say how large they are only when they are asked.
        find drivers/scsi -type f ! -name 'scsi_*' ! -name 'sd_mod*' -delete
    )
    depmod -b "$1" "$(<"$1/version")"
    # Emulated, the kernel takes seconds to unpack itself. QEMU starts the unpacked one just as well (PVH).
    local magic offset
    for magic in $'xz:\xfd7zXZ' $'zstd:\x28\xb5\x2f\xfd'; do
        while IFS=: read -r offset _; do
            tail -c "+$((offset + 1))" "$1"/boot/vmlinuz-* | "${magic%%:*}" -dc >"$1/vmlinux" 2>/dev/null || true
            if [[ $(head -c 4 "$1/vmlinux") == $'\x7fELF' ]]; then return; fi
        done < <(grep -aobF "${magic#*:}" "$1"/boot/vmlinuz-*)
    done
    cp "$1"/boot/vmlinuz-* "$1/vmlinux"
}

make_initrd() {
    local tree=$1/tree module file
    mkdir -p "$tree"/{bin,dev,proc,root,lib}
    cp "$cache/kernel/bin/busybox" "$tree/bin/"
    install "$here/guest/initramfs-init" "$tree/init"
    install "$here/guest/init" "$tree/guest-init"
    for module in $boot_modules; do
        modprobe -d "$cache/kernel" -S "$(<"$cache/kernel/version")" --show-depends "$module" || say "no module $module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$1/list"
    while read -r file; do
        module=$(basename "$file")
        case $file in
            *.xz) xz -dc "$file" >"$tree/lib/${module%.xz}" ;;
            *.zst) zstd -qdc "$file" >"$tree/lib/${module%.zst}" ;;
            *) cp "$file" "$tree/lib/" ;;
        esac
        echo "/lib/${module%.[xz]*}"
    done <"$1/list" >"$tree/modules"
    (cd "$tree" && find . | cpio --quiet -o -H newc) >"$1/initrd"
    rm -r "$tree"
}

# The mirror that this machine's own apt uses; security and update archives are other suites on other addresses.
mirror() {
    # shellcheck disable=SC2016 # apt's own placeholders
    apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 !~ /-/ && $2 == "main" { print $3; exit }'
}

make_root() {
    local tree=$1/tree keyring=${VM_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg} from
    from=${VM_MIRROR:-$(mirror)}
    [[ $from ]] || die "apt names no Debian mirror, set VM_MIRROR"
    # Namespaces of its own: whatever happens, no mount and no process of debootstrap's stays behind.
    unshare --mount --pid --fork debootstrap --variant=minbase --keyring="$keyring" --include="$guest_packages" \
        "$suite" "$tree" "$from" >"$1/debootstrap.log" || { tail -n 20 "$1/debootstrap.log" >&2; die "debootstrap failed"; }
    rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}
    cp -a "$cache/kernel/lib/modules" "$tree/lib/"
    ln -s prometheus-alertmanager "$tree/usr/bin/alertmanager" # its name everywhere but in Debian
    # An image is faster than a folder over 9p, and a run can write to it: QEMU drops what was written.
    mke2fs -q -F -t ext4 -O ^has_journal -m 0 -d "$tree" "$1/image" "$(($(du -sm "$tree" | cut -f1) * 5 / 4 + 300))M"
    rm -r "$tree"
}

make_tools() {
    unpack "$1" prometheus prometheus-alertmanager
    ln -s prometheus-alertmanager "$1/usr/bin/alertmanager" # its name everywhere but in Debian
}

# Of another suite than the host's: with package lists of its own, that are not kept.
make_alertmanager() {
    local keyring=${VM_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg} from apt
    from=${VM_MIRROR:-$(mirror)}
    [[ $from ]] || die "apt names no Debian mirror, set VM_MIRROR"
    mkdir -p "$1"/apt/{lists,cache/archives}/partial
    echo "deb [signed-by=$keyring] $from $suite main" >"$1/apt/sources.list"
    apt=(-qq -o "Dir::Etc::sourcelist=$1/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$1/apt/lists"
        -o "Dir::Cache=$1/apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    apt-get "${apt[@]}" update
    (cd "$1/apt" && apt-get "${apt[@]}" download prometheus-alertmanager)
    dpkg -x "$1"/apt/prometheus-alertmanager_*.deb "$1"
    rm -r "$1/apt"
    ln -s prometheus-alertmanager "$1/usr/bin/alertmanager" # its name everywhere but in Debian
    "$1/usr/bin/alertmanager" --version >&2
}

# Hardware virtualisation can be there and yet hang the guest: believe only a boot that ended.
make_acceleration() {
    if [[ -w /dev/kvm ]] && say "trying /dev/kvm" && VM_ACCEL=kvm boot "$1" 40 1G true 2>"$1/try.log"; then
        echo kvm >"$1/verdict"
    else
        echo tcg >"$1/verdict"
    fi
    say "acceleration: $(<"$1/verdict")"
}

prepare() {
    kernel=${VM_KERNEL:-linux-image-amd64}
    exec 9>"$cache/lock"
    flock 9
    find "$cache" -maxdepth 1 -name 'run.*' -mtime +1 -exec rm -r {} + # of rigs that were killed
    host_packages
    step kernel "$kernel" make_kernel
    step initrd "$boot_modules $(<"$cache/kernel/.key") $(cat "$here"/guest/* | sha256sum)" make_initrd
    [[ ! $systemd ]] || guest_packages=$systemd_packages
    step "root-$suite$systemd" "$suite $guest_packages $(<"$cache/kernel/.key")" make_root
    if [[ ! ${VM_ACCEL:-} ]]; then
        step acceleration "$(uname -r) $(grep -m 1 'model name' /proc/cpuinfo) $(ls /dev/kvm 2>&1)" make_acceleration
    fi
    exec 9>&-
}

# boot SHARE TIMEOUT MEMORY CMD...: uses $suite, $systemd, $disks, $forwards
boot() {
    local share=$1 timeout=$2 memory=$3 accel=${VM_ACCEL:-} run option began=$EPOCHREALTIME
    shift 3
    [[ $accel ]] || accel=$(<"$cache/acceleration/verdict")
    run=$(mktemp -d "$cache/run.XXXXXX")
    {
        printf 'modules=%q\ncommand=(' "$guest_modules ${forwards:+virtio_net}"
        printf '%q ' "$@"
        echo ')'
    } >"$run/environment"
    [[ ! $systemd ]] || touch "$run/systemd"

    # no_timer_check: on a host that is short of processors the kernel finds an emulated timer too slow, and panics.
    # shellcheck disable=SC2054 # commas within QEMU's options
    local qemu=(qemu-system-x86_64 -nodefaults -no-user-config -display none -machine q35 -smp 2 -m "$memory"
        -kernel "$cache/kernel/vmlinux" -initrd "$cache/initrd/initrd"
        -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off net.ifnames=0 no_timer_check"
        -serial "file:$run/console"
        -drive "if=none,id=root,file=$cache/root-$suite$systemd/image,format=raw,snapshot=on" -device virtio-blk-pci,drive=root
        -fsdev "local,id=rig,path=$run,security_model=none" -device virtio-9p-pci,fsdev=rig,mount_tag=rig
        -fsdev "local,id=share,path=$share,security_model=none,multidevs=remap"
        -device virtio-9p-pci,fsdev=share,mount_tag=share
        -device virtio-serial-pci -chardev file,id=output,path=/dev/fd/3
        -device virtserialport,chardev=output,name=output)
    # Emulated, a processor without AVX is the faster one; without rdrand the first pvcreate waits for random numbers.
    # shellcheck disable=SC2054
    case $accel in
        kvm) qemu+=(-accel kvm -cpu host) ;;
        tcg) qemu+=(-accel tcg,thread=multi,tb-size=512 -cpu Nehalem,+rdrand) ;;
        *) die "VM_ACCEL is tcg or kvm, not $accel" ;;
    esac
    [[ $systemd ]] || qemu+=(-no-reboot)
    for option in "${!disks[@]}"; do
        qemu+=(-drive "if=none,id=disk$option,file=${disks[option]}"
            -device "virtio-blk-pci,drive=disk$option")
    done
    if [[ $pidfile ]]; then qemu+=(-pidfile "$pidfile"); fi
    if ((${#forwards[@]})); then
        # shellcheck disable=SC2054
        qemu+=(-device virtio-net-pci,netdev=net,romfile=
            -netdev "user,id=net$(printf ',hostfwd=tcp:127.0.0.1:%s' "${forwards[@]/:/-:}")")
    fi

    # The guest's output goes through a cat, which ends when QEMU has: nothing is lost, and a file that standard output
    # may be is not truncated. If this script is killed, timeout is told, and it tells QEMU.
    local cat pid ended=0
    exec 3> >(exec cat)
    cat=$!
    setpriv --pdeathsig TERM timeout --foreground -k 5 "$timeout" "${qemu[@]}" </dev/null 9>&- &
    pid=$!
    exec 3>&-
    # shellcheck disable=SC2064 # the values of now
    trap "kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf '$run'" EXIT
    trap 'exit 143' INT TERM HUP
    wait "$pid" || ended=$?
    wait "$cat" || true
    trap - EXIT INT TERM HUP

    # A test may see no more of these than a command that was killed.
    local trouble='Out of memory:|oom-kill|BUG:|kernel BUG|Oops|general protection|blocked for more than'
    if grep -Eqs "$trouble" "$run/console"; then
        echo "rig: The guest's kernel was in trouble; last lines of its console:" >&2
        grep -E -A 40 "$trouble" "$run/console" | tail -n 120 | tr -d '\r' | sed 's/^/    /' >&2
    fi
    local status=125 took
    if [[ -s $run/status ]]; then
        status=$(<"$run/status")
        took=$(stat -c %.2Y "$run/started" "$run/status" | tr '\n' ' ')
        awk -v b="$began" -v t="$took" -v s="$status" -v how="$suite, $accel" 'BEGIN { split(t, x, " ")
            printf "rig: %s: booted in %.1f s, command took %.1f s, status %d\n", how, x[1] - b, x[2] - x[1], s }' >&2
    else
        if ((ended == 124 || ended == 137)); then status=124; fi
        {
            if ((status == 124)); then
                echo "rig: THE DEADLINE OF $timeout SECONDS HAS PASSED, machine killed."
            else
                echo "rig: THE MACHINE ENDED WITHOUT A RESULT (QEMU's status $ended)."
            fi
            [[ -e $run/started ]] || echo "rig: The command had not started."
            echo "rig: Last lines of the guest's console:"
            tail -n 50 "$run/console" 2>/dev/null | tr -d '\r' | sed 's/^/    /' || true
        } >&2
    fi
    rm -rf "$run"
    return "$status"
}

suite=bookworm systemd='' disks=() forwards=() pidfile=
((EUID == 0)) || die "must run as root"
case ${1:-} in
    prepare)
        suite=${2:-$suite}
        prepare >&2
        ;;
    run)
        shift
        timeout=600 memory=3G
        while [[ ${1:-} == --* ]]; do
            case $1 in
                --systemd) systemd=-systemd && shift && continue ;;
                --suite) suite=$2 ;;
                --timeout) timeout=$2 ;;
                --memory) memory=$2 ;;
                --disk) disks+=("$(realpath "${2%%,*}"),format=raw,cache=writeback${2#"${2%%,*}"}") ;;
                --pidfile) pidfile=$(realpath "$2") ;;
                --forward) forwards+=("$2") ;;
                *) die "unknown option $1" ;;
            esac
            shift 2
        done
        (($# >= 2)) || die "run needs SHARE and CMD"
        share=$(realpath "$1")
        shift
        prepare >&2 # standard output belongs to the command
        boot "$share" "$timeout" "$memory" "$@"
        ;;
    alertmanager)
        suite=${2:-$suite}
        exec 9>"$cache/lock"
        flock 9
        step "alertmanager-$suite" "$suite" make_alertmanager >&2
        echo "$cache/alertmanager-$suite/usr/bin"
        ;;
    tools)
        exec 9>"$cache/lock"
        flock 9
        step tools "" make_tools >&2
        echo "$cache/tools/usr/bin"
        ;;
    *)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 125
        ;;
esac
