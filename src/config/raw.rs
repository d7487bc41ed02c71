//! The config file as it is written: a serde mirror without meaning. `load` turns it into [`super::Config`].
//!
//! Every key of the file stands here once. Sizes and the like are read by visitors, so that an error carries the path,
//! line and column of the value.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};

use jiff::civil::{Time, Weekday};

use super::limits::{self, FilesystemCheck, GrownDisks, Mode, Offline, Partitions, Rescan};
use super::matcher::{self, Matcher};
use super::notify::{Occasion, Tls, WebhookFormat};
use super::report::ReportFormat;
use super::section::Section;
use super::tools::Tools;
use crate::duration;
use crate::name::{LvRef, MountPoint, PvUuid, VgName};
use crate::units::{Amount, Bytes, Percent};

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub monitor: Monitor,
    pub defaults: Target,
    pub volume_groups: Vec<VolumeGroup>,
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

/// A target, and also `defaults`: there each key may stand but those that name the target.
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
    #[serde(deserialize_with = "vg_name")]
    pub name: VgName,
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
    pub tls: Tls,
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

/// Reads one scalar: what was expected, and a function each for text and for numbers.
struct Scalar<T> {
    expected: &'static str,
    text: fn(&str) -> Result<T, String>,
    number: fn(f64) -> Result<T, String>,
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        (self.number)(number).map_err(E::custom)
    }
}

fn vg_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VgName, D::Error> {
    const EXPECTED: &str = "the name of a volume group";
    let scalar = Scalar { expected: EXPECTED, text: |t| t.parse().map_err(shown), number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar)
}

fn optional_lv<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LvRef>, D::Error> {
    const EXPECTED: &str = "a path such as /dev/storage_vg/data_lv";
    let scalar = Scalar { expected: EXPECTED, text: |t| t.parse().map_err(shown), number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_mount_point<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MountPoint>, D::Error> {
    const EXPECTED: &str = "an absolute path such as /data";
    // Of a name between two slashes, on Linux.
    const LONGEST_NAME: usize = 255;
    fn checked(text: &str) -> Result<MountPoint, String> {
        if text.split('/').any(|part| part == "." || part == "..") {
            return Err(format!("{text:?} has . or .. in it, expected the path that `findmnt` shows, such as /data"));
        }
        match text.split('/').map(str::len).find(|length| *length > LONGEST_NAME) {
            Some(length) => Err(format!("has a name of {length} bytes in it, a file name has at most {LONGEST_NAME}")),
            None => text.parse().map_err(shown),
        }
    }
    let scalar = Scalar { expected: EXPECTED, text: checked, number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Percent>, D::Error> {
    const EXPECTED: &str = "a percentage from 1 to below 100";
    fn checked(percent: Percent) -> Result<Percent, String> {
        let value = percent.value();
        not_a_ratio(value)?;
        (1.0..100.0).contains(&value).then_some(percent).ok_or_else(|| not_a(value, EXPECTED))
    }
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| t.parse().and_then(checked),
        number: |n| Percent::new(n).ok_or_else(|| not_a(n, EXPECTED)).and_then(checked),
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    const EXPECTED: &str = "a size such as 2GiB or a percentage such as 10%";
    let scalar = Scalar { expected: EXPECTED, text: str::parse, number: |n| Err(no_unit(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

/// Of a group nothing may be held back, which needs no unit.
fn optional_reserve<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    const EXPECTED: &str = "a size such as 50GiB, a percentage such as 10%, or 0";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| if t == "0" { Ok(Amount::Size(Bytes::ZERO)) } else { t.parse() },
        number: |n| if n == 0.0 { Ok(Amount::Size(Bytes::ZERO)) } else { Err(no_unit(n, EXPECTED)) },
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    const EXPECTED: &str = "a size such as 512MiB, 2GiB or 1TiB";
    let scalar = Scalar { expected: EXPECTED, text: str::parse, number: |n| Err(no_unit(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

/// The course's key: a number of GiB, as `lvextend` reads `G`.
fn optional_gib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    const EXPECTED: &str = "a number of GiB above 0";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Err(format!("{t:?} is not {EXPECTED}; sizes with a unit go into `increment`")),
        number: |n| if n > 0.0 { format!("{n}GiB").parse() } else { Err(not_a(n, EXPECTED)) },
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    const EXPECTED: &str = "a whole number of seconds from 1 to 86400";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| match duration::parse(t) {
            Ok(time) if time.subsec_nanos() == 0 => {
                Err(format!("{t:?} has a unit, and this key takes seconds: write {}", time.as_secs()))
            }
            _ => Err(format!("{t:?} is not {EXPECTED}")),
        },
        number: |n| {
            let fits = (1.0..=86400.0).contains(&n) && n.fract() == 0.0;
            fits.then(|| Duration::from_secs(n as u64)).ok_or_else(|| not_a(n, EXPECTED))
        },
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    const EXPECTED: &str = "a duration such as 30s, 10m or 24h";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| duration::parse(t).map_err(|error| format!("{t:?} {error}, expected {EXPECTED}")),
        number: |n| Err(no_unit(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_pool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LvRef>, D::Error> {
    const EXPECTED: &str = "the name of a thin pool such as storage_vg/pool0";
    let scalar = Scalar { expected: EXPECTED, text: |t| t.parse().map_err(shown), number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    const EXPECTED: &str = "a whole number from 1 to 100";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Err(format!("{t:?} is not {EXPECTED}")),
        number: |n| {
            let fits = (1.0..=f64::from(limits::MOST_EXTENSIONS)).contains(&n) && n.fract() == 0.0;
            fits.then_some(n as u32).ok_or_else(|| not_a(n, EXPECTED))
        },
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    const EXPECTED: &str = "a number from 1 to 1000 such as 1.5";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Err(format!("{t:?} is not {EXPECTED}")),
        number: |n| (1.0..=1000.0).contains(&n).then_some(n).ok_or_else(|| not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Percent>, D::Error> {
    const EXPECTED: &str = "a percentage from 0% to 99%";
    fn checked(percent: Percent) -> Result<Percent, String> {
        not_a_ratio(percent.value())?;
        (percent.value() <= 99.0).then_some(percent).ok_or_else(|| not_a(percent.value(), EXPECTED))
    }
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| t.parse().and_then(checked),
        number: |n| Percent::new(n).ok_or_else(|| not_a(n, EXPECTED)).and_then(checked),
    };
    deserializer.deserialize_any(scalar).map(Some)
}

fn optional_queue<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    const EXPECTED: &str = "a whole number from 1 to 10000";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Err(format!("{t:?} is not {EXPECTED}")),
        number: |n| {
            let fits = n.fract() == 0.0 && (1.0..=10_000.0).contains(&n);
            fits.then_some(Some(n as usize)).ok_or_else(|| not_a(n, EXPECTED))
        },
    };
    deserializer.deserialize_any(scalar)
}

fn optional_label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    const EXPECTED: &str = "the name of a label";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| if t.is_empty() { Err(format!("is empty, expected {EXPECTED}")) } else { Ok(Some(t.to_owned())) },
        number: |n| Err(not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar)
}

fn optional_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    const EXPECTED: &str = "the name of a header such as X-Grafana-Alerting-Timestamp";
    fn is_name(text: &str) -> bool {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    }
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| is_name(t).then(|| Some(t.to_owned())).ok_or_else(|| format!("{t:?} is not {EXPECTED}")),
        number: |n| Err(not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar)
}

fn time_of_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    const EXPECTED: &str = "a time such as \"08:00\", in quotes";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Time::strptime("%H:%M", t).map_err(|_| format!("{t:?} is not {EXPECTED}")),
        number: |n| Err(not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar)
}

fn shown(error: impl fmt::Display) -> String {
    error.to_string()
}

/// 0.8 where 80 is meant would hand out a whole group.
fn not_a_ratio(value: f64) -> Result<(), String> {
    let is_ratio = value > 0.0 && value < 1.0;
    // To four digits, so that 0.07 is 7 and not 7.000000000000001.
    let meant = (value * 1e6).round() / 1e4;
    if is_ratio { Err(format!("{value} means {value} %; write {meant}")) } else { Ok(()) }
}

fn not_a(number: f64, expected: &str) -> String {
    format!("{number} is not {expected}")
}

fn no_unit(number: f64, expected: &str) -> String {
    format!("{number} has no unit, expected {expected}")
}
