//! How alerts are read: which labels say what, which alerts are meant, and how many may wait.

use std::path::PathBuf;

use serde::Serialize;

use super::matcher::Matcher;
use crate::name::MountPoint;

/// What the webhook wants of an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WebhookSettings {
    /// The labels that name host and volume.
    pub labels: LabelNames,
    /// What may stand before the mount points in alerts: where a node_exporter in a container sees the host's root.
    pub mount_point_prefixes: Vec<MountPoint>,
    /// An alert that one of these does not match is passed over.
    #[serde(rename = "match")]
    pub matchers: Vec<Matcher>,
    /// As many requests may wait. There is at most one per target.
    pub queue: usize,
    /// The key that Grafana signs with.
    pub grafana_hmac_secret_file: Option<PathBuf>,
    /// The header in which Grafana sends the time it signed at; `None`: it signs the body alone.
    pub grafana_hmac_timestamp_header: Option<String>,
}

/// The names of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is the label for what it is called")]
pub struct LabelNames {
    pub instance: String,
    pub vg: String,
    pub lv: String,
    pub lv_path: String,
    pub device: String,
    pub mountpoint: String,
}

impl LabelNames {
    /// All, with what they stand for.
    pub fn all(&self) -> [(&'static str, &str); 6] {
        [
            ("instance", &self.instance),
            ("vg", &self.vg),
            ("lv", &self.lv),
            ("lv_path", &self.lv_path),
            ("device", &self.device),
            ("mountpoint", &self.mountpoint),
        ]
    }
}

impl Default for LabelNames {
    fn default() -> LabelNames {
        let name = str::to_owned;
        LabelNames {
            instance: name("instance"),
            vg: name("vg"),
            lv: name("lv"),
            lv_path: name("lv_path"),
            device: name("device"),
            mountpoint: name("mountpoint"),
        }
    }
}

impl Default for WebhookSettings {
    /// A thousand waiting requests are a few hundred kilobytes, here and in the journal.
    fn default() -> WebhookSettings {
        WebhookSettings {
            labels: LabelNames::default(),
            mount_point_prefixes: Vec::new(),
            matchers: Vec::new(),
            queue: 1000,
            grafana_hmac_secret_file: None,
            grafana_hmac_timestamp_header: None,
        }
    }
}
