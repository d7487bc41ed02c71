//! Values of the config file that are one word or number: each reader says what it expected, at the place of the value.

use std::fmt;
use std::time::Duration;

use jiff::civil::Time;
use serde::de::{self, Deserializer, Visitor};

use super::glob::Glob;
use super::group::GroupName;
use super::limits;
use crate::duration;
use crate::name::{LvRef, MountPoint};
use crate::units::{Amount, Bytes, Percent};

/// Reads one scalar: what was expected, and a function each for text and for numbers.
pub(super) struct Scalar<T> {
    pub(super) expected: &'static str,
    pub(super) text: fn(&str) -> Result<T, String>,
    pub(super) number: fn(f64) -> Result<T, String>,
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

pub(super) fn group_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GroupName, D::Error> {
    const EXPECTED: &str = "the name of a volume group, or a pattern such as data*";
    let scalar = Scalar { expected: EXPECTED, text: str::parse, number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar)
}

/// A policy's name: it stands in logs and on pages.
pub(super) fn policy_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const EXPECTED: &str = "a name such as databases: letters, digits and + - _ ., at most 128";
    fn checked(text: &str) -> Result<String, String> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
        let fits = (1..=128).contains(&text.len()) && text.chars().all(is_of_name);
        if fits { Ok(text.to_owned()) } else { Err(format!("{text:?} is not {EXPECTED}")) }
    }
    let scalar = Scalar { expected: EXPECTED, text: checked, number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar)
}

/// A pattern for names of volumes.
pub(super) fn optional_glob<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Glob>, D::Error> {
    const EXPECTED: &str = "the name of a volume, or a pattern such as pg_*";
    fn checked(text: &str) -> Result<Glob, String> {
        // What no name can have would only look as if it matched.
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "+_.-*?[]{},!".contains(c);
        match text.contains('/') {
            true => Err(format!("{text:?} is not {EXPECTED}: the group stands in `vg`")),
            false if !text.chars().all(is_of_name) => {
                Err(format!("{text:?} is not {EXPECTED}: letters, digits and + _ . - with * ? [..] and {{..}}"))
            }
            false => text.parse(),
        }
    }
    let scalar = Scalar { expected: EXPECTED, text: checked, number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_path_glob<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Glob>, D::Error> {
    const EXPECTED: &str = "an absolute path, or a pattern such as /srv/**";
    fn checked(text: &str) -> Result<Glob, String> {
        // As mount points are compared: without a slash at the end.
        let bare = text.trim_end_matches('/');
        if text.split('/').any(|part| part == "." || part == "..") {
            return Err(format!(
                "{text:?} has . or .. in it, expected the path that `findmnt` shows, or a pattern for it"
            ));
        }
        match text.starts_with('/') && !text.contains("//") {
            true => (if bare.is_empty() { "/" } else { bare }).parse(),
            false => Err(format!("{text:?} is not {EXPECTED}")),
        }
    }
    let scalar = Scalar { expected: EXPECTED, text: checked, number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

/// A tag of LVM, with or without the `@` that commands put before it (lvm(8)).
pub(super) fn optional_tag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    const EXPECTED: &str = "a tag of LVM such as autoscale";
    fn checked(text: &str) -> Result<String, String> {
        let tag = text.strip_prefix('@').unwrap_or(text);
        let is_of_tag = |c: char| c.is_ascii_alphanumeric() || "_+.-/=!:#&".contains(c);
        let fits = (1..=1024).contains(&tag.len()) && !tag.starts_with('-') && tag.chars().all(is_of_tag);
        if fits { Ok(tag.to_owned()) } else { Err(format!("{text:?} is not {EXPECTED}, see lvm(8)")) }
    }
    let scalar = Scalar { expected: EXPECTED, text: checked, number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_lv<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LvRef>, D::Error> {
    const EXPECTED: &str = "a path such as /dev/storage_vg/data_lv";
    let scalar = Scalar { expected: EXPECTED, text: |t| t.parse().map_err(shown), number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_mount_point<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MountPoint>, D::Error> {
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

pub(super) fn optional_percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Percent>, D::Error> {
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

pub(super) fn optional_amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    const EXPECTED: &str = "a size such as 2GiB or a percentage such as 10%";
    let scalar = Scalar { expected: EXPECTED, text: str::parse, number: |n| Err(no_unit(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

/// Of a group nothing may be held back, which needs no unit.
pub(super) fn optional_reserve<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    const EXPECTED: &str = "a size such as 50GiB, a percentage such as 10%, or 0";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| if t == "0" { Ok(Amount::Size(Bytes::ZERO)) } else { t.parse() },
        number: |n| if n == 0.0 { Ok(Amount::Size(Bytes::ZERO)) } else { Err(no_unit(n, EXPECTED)) },
    };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    const EXPECTED: &str = "a size such as 512MiB, 2GiB or 1TiB";
    let scalar = Scalar { expected: EXPECTED, text: str::parse, number: |n| Err(no_unit(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

/// The course's key: a number of GiB, as `lvextend` reads `G`.
pub(super) fn optional_gib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    const EXPECTED: &str = "a number of GiB above 0";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Err(format!("{t:?} is not {EXPECTED}; sizes with a unit go into `increment`")),
        number: |n| if n > 0.0 { format!("{n}GiB").parse() } else { Err(not_a(n, EXPECTED)) },
    };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
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

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    const EXPECTED: &str = "a duration such as 30s, 10m or 24h";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| duration::parse(t).map_err(|error| format!("{t:?} {error}, expected {EXPECTED}")),
        number: |n| Err(no_unit(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_pool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LvRef>, D::Error> {
    const EXPECTED: &str = "the name of a thin pool such as storage_vg/pool0";
    let scalar = Scalar { expected: EXPECTED, text: |t| t.parse().map_err(shown), number: |n| Err(not_a(n, EXPECTED)) };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
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

pub(super) fn optional_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    const EXPECTED: &str = "a number from 1 to 1000 such as 1.5";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Err(format!("{t:?} is not {EXPECTED}")),
        number: |n| (1.0..=1000.0).contains(&n).then_some(n).ok_or_else(|| not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar).map(Some)
}

pub(super) fn optional_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Percent>, D::Error> {
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

pub(super) fn optional_queue<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
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

pub(super) fn optional_label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    const EXPECTED: &str = "the name of a label";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| if t.is_empty() { Err(format!("is empty, expected {EXPECTED}")) } else { Ok(Some(t.to_owned())) },
        number: |n| Err(not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar)
}

pub(super) fn optional_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
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

pub(super) fn time_of_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    const EXPECTED: &str = "a time such as \"08:00\", in quotes";
    let scalar = Scalar {
        expected: EXPECTED,
        text: |t| Time::strptime("%H:%M", t).map_err(|_| format!("{t:?} is not {EXPECTED}")),
        number: |n| Err(not_a(n, EXPECTED)),
    };
    deserializer.deserialize_any(scalar)
}

pub(super) fn shown(error: impl fmt::Display) -> String {
    error.to_string()
}

/// 0.8 where 80 is meant would hand out a whole group.
pub(super) fn not_a_ratio(value: f64) -> Result<(), String> {
    let is_ratio = value > 0.0 && value < 1.0;
    // To four digits, so that 0.07 is 7 and not 7.000000000000001.
    let meant = (value * 1e6).round() / 1e4;
    if is_ratio { Err(format!("{value} means {value} %; write {meant}")) } else { Ok(()) }
}

pub(super) fn not_a(number: f64, expected: &str) -> String {
    format!("{number} is not {expected}")
}

pub(super) fn no_unit(number: f64, expected: &str) -> String {
    format!("{number} has no unit, expected {expected}")
}
