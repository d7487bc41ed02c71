# Removal, not upgrade. The step that runs ends first.
if [ $1 -eq 0 ]; then
    systemctl --no-reload disable --now lvm-autoscaler-web.socket lvm-autoscaler-web.service lvm-autoscaler.service >/dev/null 2>&1 || :
fi
