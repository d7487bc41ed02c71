if [ $1 -eq 1 ]; then
    systemctl --no-reload preset lvm-autoscaler.service >/dev/null 2>&1 || :
fi
systemctl daemon-reload >/dev/null 2>&1 || :
