//! What was asked? The payload Alertmanager sends, and which volume its labels name.
//!
//! Labels come from strangers. Nothing in an alert is believed except which target it names; whether that target may
//! and should grow is decided from a fresh look at the host.

pub mod target;

use std::collections::BTreeMap;

use serde::Deserialize;

/// Alertmanager's webhook payload, version 4; fields that are not needed are passed over.
#[derive(Debug, Clone, Deserialize)]
pub struct Payload {
    version: String,
    /// The alerts of the group.
    pub alerts: Vec<Alert>,
}

/// One alert of a payload.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// Whether it fires or was resolved.
    pub status: Status,
    /// What names it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Alertmanager's hash of the labels, 16 hexadecimal digits.
    #[serde(default)]
    pub fingerprint: String,
}

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// Why a body is no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not the JSON expected.
    #[error("the body is not an Alertmanager payload: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("the payload has version {0:?}, expected \"4\"")]
    Version(String),
}

/// Reads a request body.
pub fn parse(body: &[u8]) -> Result<Payload, PayloadError> {
    let payload: Payload = serde_json::from_slice(body)?;
    if payload.version != "4" {
        return Err(PayloadError::Version(payload.version));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_passed_over_and_unknown_versions_are_not() {
        let body = r#"{"version":"4","groupKey":"{}:{}","truncatedAlerts":0,"receiver":"x","notification_reason":"new",
            "alerts":[{"status":"firing","labels":{"alertname":"A","vg":"v"},"annotations":{},
            "startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"00aa"}]}"#;
        let payload = parse(body.as_bytes()).expect("a payload");
        assert_eq!(payload.alerts[0].status, Status::Firing);
        assert_eq!(payload.alerts[0].labels["vg"], "v");
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"version":"4"}"#,
            r#"{"version":4,"alerts":[]}"#,
            "\u{0}",
            r#"{"version":"4","alerts":[{"status":"odd"}]}"#,
            r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":1}}]}"#,
        ] {
            assert!(matches!(parse(body.as_bytes()), Err(PayloadError::Json(_))), "{body}");
        }
        let error = parse(br#"{"version":"1","alerts":[]}"#).expect_err("Grafana's").to_string();
        assert_eq!(error, "the payload has version \"1\", expected \"4\"");
    }
}
