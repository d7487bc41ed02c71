//! What was asked? The payloads that Alertmanager and Grafana send, and which volume their labels name.
//!
//! Labels come from strangers. Nothing in an alert is believed except which target it names; whether that target may
//! and should grow is decided from a fresh look at the host.

pub mod instance;
mod object;
pub mod target;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use object::Object;

/// Who sends a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Alertmanager, version 4.
    Alertmanager,
    /// Grafana's alerting, version 1. It has all that Alertmanager's has, and more.
    Grafana,
}

/// A payload; fields that are not needed are passed over.
#[derive(Debug, Clone, Deserialize)]
pub struct Payload {
    version: String,
    /// Whether any alert of the group fires.
    status: Option<Status>,
    /// Grafana's: `alerting`, `ok`, and of old `no_data`.
    state: Option<String>,
    /// The alerts of the group, or as many of them as the sender's `max_alerts` allows.
    #[serde(deserialize_with = "object::objects")]
    pub alerts: Vec<Alert>,
    /// So many more are not in the body.
    #[serde(default, rename = "truncatedAlerts")]
    truncated: u64,
    /// What all alerts of the group have in common because they are grouped by it.
    #[serde(default, rename = "groupLabels")]
    pub group: Labels,
}

/// One alert of a payload.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// Whether it fires or was resolved.
    pub status: Status,
    /// What names it.
    #[serde(default)]
    pub labels: Labels,
    /// Alertmanager's hash of the labels, 16 hexadecimal digits.
    #[serde(default)]
    pub fingerprint: String,
    #[serde(default, deserialize_with = "object::object")]
    annotations: Annotations,
}

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Status {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// Names and values. A name that stands twice is an error: it would say two things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Labels(pub BTreeMap<String, String>);

/// Of all annotations the one that matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// Why Grafana lets an alert fire although its query gave no number.
    grafana_state_reason: Option<String>,
}

/// Why a body is no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not the JSON expected.
    #[error("the body is not {expected} payload: {}", crate::plain(&error.to_string()))]
    Json {
        /// Whose was expected.
        expected: &'static str,
        /// Why not; a part of the message, because the sender gets only that.
        error: serde_json::Error,
    },
    /// Another version of the format.
    #[error("the payload has version {0:?}, expected {1:?}")]
    Version(String, &'static str),
    /// That of the other sender, at the wrong path.
    #[error("the payload has version {:?}, expected {:?}: it is {}, which belongs at {}", of.version(), at.version(), of.whose(), of.path())]
    Elsewhere {
        /// Whose it is.
        of: Sender,
        /// Where it came.
        at: Sender,
    },
}

/// Reads a request body.
pub fn parse(sender: Sender, body: &[u8]) -> Result<Payload, PayloadError> {
    let Object(payload): Object<Payload> =
        serde_json::from_slice(body).map_err(|error| PayloadError::Json { expected: sender.article(), error })?;
    match [Sender::Alertmanager, Sender::Grafana].into_iter().find(|of| of.version() == payload.version) {
        Some(of) if of == sender => Ok(payload),
        Some(of) => Err(PayloadError::Elsewhere { of, at: sender }),
        None => Err(PayloadError::Version(payload.version, sender.version())),
    }
}

impl Payload {
    /// How many alerts are missing that may fire.
    pub fn truncated(&self) -> u64 {
        if self.status == Some(Status::Resolved) { 0 } else { self.truncated }
    }

    /// Why an alert of this payload says nothing about any volume, if so: Grafana also fires when it could not measure.
    /// An alert that it only keeps (`NoData, KeepLast`) fired because of a number; the fresh look decides whether that
    /// is still so.
    pub fn says_nothing(&self, alert: &Alert) -> Option<&'static str> {
        let name = alert.labels.0.get("alertname").map(String::as_str);
        let reason = alert.annotations.grafana_state_reason.as_deref().unwrap_or_default();
        let has = |word: &str| reason.split(',').any(|part| part.trim() == word);
        let (no_data, failed) = (name == Some("DatasourceNoData"), name == Some("DatasourceError"));
        let kept = has("KeepLast") && !no_data && !failed;
        if no_data || !kept && (has("NoData") || self.state.as_deref() == Some("no_data")) {
            return Some("it fires because its query gave no data, not because anything is full");
        }
        let failed = failed || !kept && has("Error");
        failed.then_some("it fires because its query failed, not because anything is full")
    }
}

impl Sender {
    fn article(self) -> &'static str {
        match self {
            Sender::Alertmanager => "an Alertmanager",
            Sender::Grafana => "a Grafana",
        }
    }

    fn whose(self) -> &'static str {
        match self {
            Sender::Alertmanager => "Alertmanager's",
            Sender::Grafana => "Grafana's",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Sender::Alertmanager => "4",
            Sender::Grafana => "1",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Sender::Alertmanager => "/webhook/alertmanager",
            Sender::Grafana => "/webhook/grafana",
        }
    }
}

impl TryFrom<String> for Status {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Status, &'static str> {
        match text.as_str() {
            "firing" => Ok(Status::Firing),
            "resolved" => Ok(Status::Resolved),
            _ => Err("the status is neither firing nor resolved"),
        }
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels, an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if labels.insert(name, value).is_some() {
                        return Err(de::Error::custom("a label stands there twice"));
                    }
                }
                Ok(Labels(labels))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_passed_over_and_unknown_versions_are_not() {
        let body = r#"{"version":"4","groupKey":"{}:{}","truncatedAlerts":0,"receiver":"x","notification_reason":"new",
            "alerts":[{"status":"firing","labels":{"alertname":"A","vg":"v"},"annotations":{"summary":"s"},
            "startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"00aa"}]}"#;
        let payload = parse(Sender::Alertmanager, body.as_bytes()).expect("a payload");
        assert_eq!(payload.alerts[0].status, Status::Firing);
        assert_eq!(payload.alerts[0].labels.0["vg"], "v");
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"version":"4"}"#,
            r#"{"version":4,"alerts":[]}"#,
            "\u{0}",
            r#"["4","firing",null,[{"status":"firing"}],0,{}]"#,
            r#"{"version":"4","alerts":[["firing",{},"",{}]]}"#,
            r#"{"version":"4","alerts":[{"status":"firing","annotations":["x"]}]}"#,
            r#"{"version":"4","alerts":[{"status":{"firing":null}}]}"#,
            r#"{"version":"4","alerts":[{"status":"odd"}]}"#,
            r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":1}}]}"#,
            r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"1","a":"2"}}]}"#,
            r#"{"version":"4","alerts":[],"alerts":[]}"#,
            r#"{"version":"4","alerts":[],"truncatedAlerts":-1}"#,
        ] {
            assert!(matches!(parse(Sender::Alertmanager, body.as_bytes()), Err(PayloadError::Json { .. })), "{body}");
        }
        let refused = |sender, body: &str| parse(sender, body.as_bytes()).expect_err("another version").to_string();
        assert_eq!(
            refused(Sender::Alertmanager, r#"{"version":"3","alerts":[]}"#),
            "the payload has version \"3\", expected \"4\""
        );
        assert_eq!(
            refused(Sender::Alertmanager, r#"{"version":"1","alerts":[]}"#),
            "the payload has version \"1\", expected \"4\": it is Grafana's, which belongs at /webhook/grafana"
        );
        assert_eq!(
            refused(Sender::Grafana, r#"{"version":"4","alerts":[]}"#),
            "the payload has version \"4\", expected \"1\": it is Alertmanager's, which belongs at /webhook/alertmanager"
        );
    }

    #[test]
    fn grafana_fires_for_other_reasons_than_a_number() {
        let asked = |name: &str, reason: &str| {
            let body = format!(
                r#"{{"version":"1","state":"alerting","alerts":[{{"status":"firing","labels":{{"alertname":"{name}"}},
                "annotations":{{"grafana_state_reason":"{reason}"}}}}]}}"#
            );
            let payload = parse(Sender::Grafana, body.as_bytes()).expect("a payload");
            payload.says_nothing(&payload.alerts[0])
        };
        for reason in ["", "KeepLast", "NoData, KeepLast", "Error, KeepLast", "Error,KeepLast", "Updated", "ErrorX"] {
            assert_eq!(asked("Full", reason), None, "{reason:?}");
        }
        for (name, reason, why) in [
            ("Full", "NoData", "gave no data"),
            ("Full", "Error", "its query failed"),
            ("Full", "NoData, Error", "gave no data"),
            ("DatasourceNoData", "", "gave no data"),
            ("DatasourceNoData", "NoData, KeepLast", "gave no data"),
            ("DatasourceError", "", "its query failed"),
            ("DatasourceError", "Error, KeepLast", "its query failed"),
        ] {
            assert!(asked(name, reason).is_some_and(|told| told.contains(why)), "{name} {reason:?}");
        }
    }

    #[test]
    fn an_error_quotes_no_control_characters() {
        for alert in [r#"{"status":"odd\n\u001b[31m"}"#, r#""\n\u001b[31m""#, r#"{"status":"firing","labels":"\n"}"#] {
            let body = format!(r#"{{"version":"4","alerts":[{alert}]}}"#);
            let error = parse(Sender::Alertmanager, body.as_bytes()).expect_err("no alert").to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn what_was_cut_off_matters_only_while_something_fires() {
        let truncated = |status: &str| {
            let body = format!(r#"{{"version":"4",{status}"truncatedAlerts":7,"alerts":[]}}"#);
            parse(Sender::Alertmanager, body.as_bytes()).expect("a payload").truncated()
        };
        assert_eq!(
            (truncated(r#""status":"firing","#), truncated(""), truncated(r#""status":"resolved","#)),
            (7, 7, 0)
        );
    }
}
