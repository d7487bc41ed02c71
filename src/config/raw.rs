//! The config file as it is written: a serde mirror without meaning. `load` turns it into [`super::Config`].
//!
//! Every key of the file stands here once. Sizes and the like are read by visitors, so that an error carries the path,
//! line and column of the value.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use serde::de::{Deserializer, MapAccess};

use jiff::civil::{Time, Weekday};

use super::aside::{self, Aside, with_keys_of};
use super::glob::Glob;
use super::group::GroupName;
use super::limits::{self, FilesystemCheck, GrownDisks, Mode, Offline, Partitions, Rescan};
use super::matcher::{self, Matcher};
use super::notify::{Encryption, Occasion, WebhookFormat};
use super::report::ReportFormat;
use super::scalar::{
    Scalar, group_name, not_a, optional_amount, optional_count, optional_duration, optional_gib, optional_glob,
    optional_header, optional_label, optional_lv, optional_mount_point, optional_path_glob, optional_percent,
    optional_pool, optional_queue, optional_ratio, optional_reserve, optional_seconds, optional_share, optional_size,
    optional_tag, policy_name, time_of_day,
};
use super::section::Section;
use super::tools::Tools;
use crate::name::{LvRef, MountPoint, PvUuid};
use crate::units::{Amount, Bytes, Percent};

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub monitor: Monitor,
    pub defaults: Defaults,
    pub volume_groups: Vec<VolumeGroup>,
    pub policies: Vec<Policy>,
    pub webhook: Webhook,
    pub report: Report,
    pub external_url: Option<String>,
    pub notify: Vec<Notify>,
    pub audit: Option<Audit>,
    pub state: State,
    pub backup: Backup,
    pub inventory: Inventory,
    pub tools: Tools,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Monitor {
    #[serde(deserialize_with = "optional_seconds")]
    pub interval_seconds: Option<Duration>,
    pub targets: Vec<Target>,
}

/// `defaults`: each key of a target may stand there but those that name the target, and `reserve`, which is of groups.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub target: Target,
    pub reserve: Option<Amount>,
}

impl<'de> serde::Deserialize<'de> for Defaults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Defaults, D::Error> {
        let (target, OfDefaults { reserve }) = aside::read(deserializer)?;
        Ok(Defaults { target, reserve })
    }
}

#[derive(Default)]
struct OfDefaults {
    reserve: Option<Amount>,
}

impl Aside for OfDefaults {
    const WHAT: &'static str = "a mapping with keys of targets";
    const KEYS: &'static [&'static str] = &["reserve"];

    fn all() -> &'static [&'static str] {
        static ALL: LazyLock<Vec<&str>> = LazyLock::new(|| with_keys_of::<Target>(OfDefaults::KEYS));
        &ALL
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        self.reserve = map.next_value::<Reserve>()?.0;
        Ok(())
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Reserve(#[serde(deserialize_with = "optional_reserve")] Option<Amount>);

/// A policy: what it selects, and the keys of a target for all of that.
#[derive(Debug)]
pub(super) struct Policy {
    pub name: Option<String>,
    pub selects: Option<Selects>,
    pub target: Target,
}

impl<'de> serde::Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
        let (target, OfPolicy { name, selects }) = aside::read(deserializer)?;
        Ok(Policy { name, selects, target })
    }
}

#[derive(Default)]
struct OfPolicy {
    name: Option<String>,
    selects: Option<Selects>,
}

impl Aside for OfPolicy {
    const WHAT: &'static str = "a policy";
    const KEYS: &'static [&'static str] = &["name", "match"];

    fn all() -> &'static [&'static str] {
        static ALL: LazyLock<Vec<&str>> = LazyLock::new(|| with_keys_of::<Target>(OfPolicy::KEYS));
        &ALL
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = Some(map.next_value::<PolicyName>()?.0),
            _ => self.selects = Some(map.next_value()?),
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct PolicyName(#[serde(deserialize_with = "policy_name")] String);

/// `match` of a policy.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selects {
    #[serde(deserialize_with = "group_name")]
    pub vg: GroupName,
    #[serde(default, deserialize_with = "optional_glob")]
    pub lv: Option<Glob>,
    #[serde(default, deserialize_with = "optional_glob")]
    pub thin_pool: Option<Glob>,
    #[serde(default, deserialize_with = "optional_path_glob")]
    pub mount_point: Option<Glob>,
    #[serde(default)]
    pub fs: Option<Vec<String>>,
    #[serde(default, deserialize_with = "optional_tag")]
    pub tag: Option<String>,
}

/// A target. In `defaults` each key may stand but those that name it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Target {
    #[serde(deserialize_with = "optional_lv")]
    pub lv_path: Option<LvRef>,
    #[serde(deserialize_with = "optional_mount_point")]
    pub mount_point: Option<MountPoint>,
    #[serde(deserialize_with = "optional_pool")]
    pub thin_pool: Option<LvRef>,
    #[serde(deserialize_with = "optional_percent")]
    pub threshold_percent: Option<Percent>,
    #[serde(deserialize_with = "optional_percent")]
    pub inode_threshold_percent: Option<Percent>,
    #[serde(deserialize_with = "optional_percent")]
    pub data_threshold_percent: Option<Percent>,
    #[serde(deserialize_with = "optional_percent")]
    pub metadata_threshold_percent: Option<Percent>,
    #[serde(deserialize_with = "optional_amount")]
    pub increment: Option<Amount>,
    #[serde(deserialize_with = "optional_gib")]
    pub increment_gb: Option<Bytes>,
    #[serde(deserialize_with = "optional_size")]
    pub min_increment: Option<Bytes>,
    #[serde(deserialize_with = "optional_size")]
    pub max_increment: Option<Bytes>,
    #[serde(deserialize_with = "optional_size")]
    pub max_size: Option<Bytes>,
    #[serde(deserialize_with = "optional_duration")]
    pub cooldown: Option<Duration>,
    pub budget: Option<Budget>,
    #[serde(deserialize_with = "optional_count")]
    pub breaker_failures: Option<u32>,
    pub window: Option<Window>,
    pub mode: Option<Mode>,
    pub offline: Option<Offline>,
    pub filesystem_check: Option<FilesystemCheck>,
    pub allow_large_xfs_growth: Option<bool>,
    pub luks_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_ratio")]
    pub max_overprovision: Option<f64>,
    #[serde(deserialize_with = "optional_share")]
    pub min_pool_free_data: Option<Percent>,
    #[serde(deserialize_with = "optional_share")]
    pub min_pool_free_metadata: Option<Percent>,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Budget {
    #[serde(deserialize_with = "optional_count")]
    pub extensions: Option<u32>,
    #[serde(deserialize_with = "optional_size")]
    pub bytes: Option<Bytes>,
    #[serde(deserialize_with = "optional_duration")]
    pub per: Option<Duration>,
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    #[serde(default)]
    pub days: Vec<Day>,
    #[serde(deserialize_with = "time_of_day")]
    pub from: Time,
    #[serde(deserialize_with = "time_of_day")]
    pub to: Time,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Day(pub Weekday);

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Day, D::Error> {
        const EXPECTED: &str = "a day: mon, tue, wed, thu, fri, sat or sun";
        let scalar = Scalar {
            expected: EXPECTED,
            text: |t| {
                limits::day(t).map(Day).ok_or_else(|| match t.get(..3).filter(|short| limits::day(short).is_some()) {
                    Some(short) => format!("{t:?} is not a day, write {short}"),
                    None => format!("{t:?} is not {EXPECTED}"),
                })
            },
            number: |n| Err(not_a(n, EXPECTED)),
        };
        deserializer.deserialize_any(scalar)
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VolumeGroup {
    #[serde(deserialize_with = "group_name")]
    pub name: GroupName,
    #[serde(default, deserialize_with = "optional_reserve")]
    pub reserve: Option<Amount>,
    #[serde(default)]
    pub budget: Option<Budget>,
    #[serde(default)]
    pub grown_disks: GrownDisks,
    #[serde(default)]
    pub partitions: Partitions,
    #[serde(default)]
    pub rescan: Rescan,
    #[serde(default)]
    pub spares: Vec<PvUuid>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Webhook {
    pub authorization: Option<Section<Authorization>>,
    pub basic_auth: Option<Section<BasicAuth>>,
    pub client_certificate: Option<ClientCertificate>,
    pub instances: Option<Vec<String>>,
    pub labels: Labels,
    pub mount_point_prefixes: Vec<MountPoint>,
    pub r#match: Vec<Matchers>,
    #[serde(deserialize_with = "optional_queue")]
    pub queue: Option<usize>,
    pub grafana_hmac_secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_header")]
    pub grafana_hmac_timestamp_header: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Labels {
    #[serde(deserialize_with = "optional_label")]
    pub instance: Option<String>,
    #[serde(deserialize_with = "optional_label")]
    pub vg: Option<String>,
    #[serde(deserialize_with = "optional_label")]
    pub lv: Option<String>,
    #[serde(deserialize_with = "optional_label")]
    pub lv_path: Option<String>,
    #[serde(deserialize_with = "optional_label")]
    pub device: Option<String>,
    #[serde(deserialize_with = "optional_label")]
    pub mountpoint: Option<String>,
}

/// One item of `match`, which may hold several.
#[derive(Debug)]
pub(super) struct Matchers(pub Vec<Matcher>);

impl<'de> serde::Deserialize<'de> for Matchers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Matchers, D::Error> {
        const EXPECTED: &str = "a matcher such as 'severity=\"critical\"'";
        let scalar = Scalar {
            expected: EXPECTED,
            text: |t| matcher::parse(t).map(Matchers),
            number: |n| Err(not_a(n, EXPECTED)),
        };
        deserializer.deserialize_any(scalar)
    }
}

/// One receiver: exactly one of the two.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notify {
    pub webhook: Option<NotifyWebhook>,
    pub email: Option<Email>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NotifyWebhook {
    pub url: Option<String>,
    pub url_file: Option<PathBuf>,
    pub on: Option<Vec<Occasion>>,
    pub format: WebhookFormat,
    pub authorization: Option<Authorization>,
    pub ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    pub template: Option<String>,
    pub template_file: Option<PathBuf>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    pub r#type: Option<String>,
    pub credentials_file: PathBuf,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Email {
    pub smarthost: Option<String>,
    pub tls: Encryption,
    pub from: Option<String>,
    pub to: Vec<String>,
    pub auth_username: Option<String>,
    pub auth_password_file: Option<PathBuf>,
    pub on: Option<Vec<Occasion>>,
    pub ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub text_file: Option<PathBuf>,
    pub html: Option<String>,
    pub html_file: Option<PathBuf>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub file: PathBuf,
    #[serde(default, deserialize_with = "optional_size")]
    pub max_size: Option<Bytes>,
    #[serde(default, deserialize_with = "optional_count")]
    pub keep: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BasicAuth {
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClientCertificate {
    pub allowed_sans: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Report {
    #[serde(deserialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    pub directory: Option<PathBuf>,
    pub formats: Option<Vec<ReportFormat>>,
    #[serde(deserialize_with = "optional_count")]
    pub keep: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backup {
    #[serde(deserialize_with = "optional_count")]
    pub keep: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Inventory {
    #[serde(deserialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    #[serde(deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
}
