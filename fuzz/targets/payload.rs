//! A request body: what is taken for a payload says the same to any other reader of JSON, and survives being written
//! anew.

use lvm_autoscaler::alert::{Payload, Sender, Status, parse};
use serde_json::{Value, json};

pub fn run(data: &[u8]) {
    for (sender, version) in [(Sender::Alertmanager, "4"), (Sender::Grafana, "1")] {
        match parse(sender, data) {
            Ok(payload) => check(sender, version, &payload, data),
            Err(error) => super::assert_plain(&error.to_string()),
        }
    }
}

fn check(sender: Sender, version: &str, payload: &Payload, data: &[u8]) {
    // What is passed over may hold text that is no Unicode; then nobody else can say what it is.
    if let Ok(read) = serde_json::from_slice(data) {
        compare(version, payload, &read);
    }
    anew(sender, version, payload);
}

fn compare(version: &str, payload: &Payload, read: &Value) {
    let said = read["alerts"].as_array().expect("a payload has a list of alerts");
    assert_eq!((read["version"].as_str(), said.len()), (Some(version), payload.alerts.len()));
    for (alert, said) in payload.alerts.iter().zip(said) {
        assert_eq!(said["status"], status(alert.status));
        assert_eq!(said.get("labels").unwrap_or(&json!({})), &json!(alert.labels));
        assert_eq!(said.get("fingerprint").unwrap_or(&json!("")), &json!(alert.fingerprint));
        if let Some(why) = payload.says_nothing(alert) {
            super::assert_plain(why);
        }
    }
    let truncated = read["truncatedAlerts"].as_u64().unwrap_or(0);
    let expected = if read["status"] == "resolved" { 0 } else { truncated };
    assert_eq!(payload.truncated(), expected);
}

fn anew(sender: Sender, version: &str, payload: &Payload) {
    let alerts = payload.alerts.iter().map(
        |alert| json!({"status": status(alert.status), "labels": alert.labels, "fingerprint": alert.fingerprint, "new": [{}]}),
    );
    let anew = json!({"version": version, "truncatedAlerts": payload.truncated(), "groupLabels": payload.group,
        "alerts": alerts.collect::<Vec<_>>()});
    let again = parse(sender, anew.to_string().as_bytes()).expect("what was read can be read again");
    assert_eq!((again.group.clone(), again.truncated()), (payload.group.clone(), payload.truncated()));
    for (alert, again) in payload.alerts.iter().zip(&again.alerts) {
        assert_eq!(
            (alert.status, &alert.labels, &alert.fingerprint),
            (again.status, &again.labels, &again.fingerprint)
        );
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}
