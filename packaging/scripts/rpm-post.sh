if [ $1 -eq 1 ]; then
    systemctl --no-reload preset lvm-autoscaler.service >/dev/null 2>&1 || :
    echo 'lvm-autoscaler: nothing can grow yet; "lvm-autoscaler init" looks at this host and proposes a config.'
fi
systemctl daemon-reload >/dev/null 2>&1 || :
