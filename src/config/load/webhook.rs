//! `webhook`: names of labels that differ, and what belongs together.

use crate::config::check::check_absolute;
use crate::config::file::{Wrong, wrong};
use crate::config::locate::PathPart;
use crate::config::raw;
use crate::config::webhook::{LabelNames, WebhookSettings};

/// What the file says, checked.
pub(super) fn validate(raw: &raw::Webhook) -> Result<WebhookSettings, Wrong> {
    let unset = WebhookSettings::default();
    let name = |given: &Option<String>, unset: String| given.clone().unwrap_or(unset);
    let (given, default) = (&raw.labels, unset.labels);
    let labels = LabelNames {
        instance: name(&given.instance, default.instance),
        vg: name(&given.vg, default.vg),
        lv: name(&given.lv, default.lv),
        lv_path: name(&given.lv_path, default.lv_path),
        device: name(&given.device, default.device),
        mountpoint: name(&given.mountpoint, default.mountpoint),
    };
    let key = |key| vec![PathPart::Key("webhook"), PathPart::Key(key)];
    for (index, (what, name)) in labels.all().into_iter().enumerate() {
        if let Some((other, _)) = labels.all()[..index].iter().find(|(_, known)| *known == name) {
            return wrong(
                [key("labels"), vec![PathPart::Key(what)]].concat(),
                format!("is {name:?} like that of {other}"),
            );
        }
    }
    if let Some(index) = raw.mount_point_prefixes.iter().position(|prefix| prefix.as_str() == "/") {
        let at = [key("mount_point_prefixes"), vec![PathPart::Item(index)]].concat();
        return wrong(at, "is /, which stands before every mount point: give a folder such as /rootfs");
    }
    if let Some(path) = &raw.grafana_hmac_secret_file {
        check_absolute(path, &key("grafana_hmac_secret_file"))?;
    }
    if raw.grafana_hmac_timestamp_header.is_some() && raw.grafana_hmac_secret_file.is_none() {
        return wrong(key("grafana_hmac_timestamp_header"), "needs grafana_hmac_secret_file");
    }
    Ok(WebhookSettings {
        labels,
        mount_point_prefixes: raw.mount_point_prefixes.clone(),
        matchers: raw.r#match.iter().flat_map(|item| item.0.clone()).collect(),
        queue: raw.queue.unwrap_or(unset.queue),
        grafana_hmac_secret_file: raw.grafana_hmac_secret_file.clone(),
        grafana_hmac_timestamp_header: raw.grafana_hmac_timestamp_header.clone(),
    })
}
