#!/bin/bash
# Stands for the program in tests under systemd: `serve` is then the two services of the packages, with all that their
# units allow and forbid, and anything else is the program itself. What both say comes on standard error. They end with
# this shell. UNITS is the folder with both units; else they lie beside this file, as the program does.
set -u
here=$(dirname "$(realpath "$0")")
program=${PROGRAM:-$here/lvm-autoscaler} units=${UNITS:-$here/units}
if [[ ${1:-} != serve ]]; then exec "$program" "$@"; fi
shift
name=lvm-autoscaler-test-$$ socket=/run/lvm-autoscaler-test-$$.sock log=/run/lvm-autoscaler-test-$$.log
getent passwd lvm-autoscaler >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin lvm-autoscaler

# The web process has a /tmp of its own, where tests lie.
installed=/usr/local/bin/lvm-autoscaler
cmp -s "$program" "$installed" || install "$program" "$installed"
# unit SUFFIX ARGUMENTS FILE: the unit under a name of our own, with these arguments and those of the test, not started
# again.
given=$(printf ' "%s"' "$@")
unit() {
    sed -E -e "s#^ExecStart=.*#ExecStart=$installed $2 --engine.socket=$socket$given#" -e '/^(Restart|EnvironmentFile|ExecReload)=/d' \
        -e "s#lvm-autoscaler(-web)?\.service#$name\1.service#g" \
        -e "/^\[Service\]/a StandardOutput=append:$log\nStandardError=append:$log" "$units/$3" >"/run/systemd/system/$name$1.service"
}
unit '' 'engine --web.user=lvm-autoscaler' lvm-autoscaler.service
unit -web web lvm-autoscaler-web.service
: >"$log"
systemctl daemon-reload
# Should this shell be killed, they are as well.
setsid bash -c "tail --pid=$$ -f /dev/null; systemctl kill -s KILL $name $name-web 2>/dev/null
    systemctl reset-failed $name $name-web 2>/dev/null; rm -f /run/systemd/system/$name.service /run/systemd/system/$name-web.service $socket $log" \
    </dev/null >/dev/null 2>&1 &
tail --pid=$$ -s 0.1 -f "$log" >&2 &
trap 'systemctl stop "$name" & wait $!; exit 0' TERM INT
systemctl start "$name" &
wait $!
while systemctl is-active --quiet "$name"; do
    sleep 0.2 &
    wait $!
done
exit 1
