# Whom the web process runs as.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/lvm-autoscaler.conf || :
elif ! getent passwd lvm-autoscaler >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /sbin/nologin lvm-autoscaler || :
fi
if [ $1 -eq 1 ]; then
    systemctl --no-reload preset lvm-autoscaler.service >/dev/null 2>&1 || :
    echo 'lvm-autoscaler: nothing can grow yet; "lvm-autoscaler init" looks at this host and proposes a config.'
fi
systemctl daemon-reload >/dev/null 2>&1 || :
