//! One payload for all hosts -> one for each host. What is not understood is passed on as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::hosts::{Host, Hosts};

/// Who gets what.
pub(super) struct Parts {
    /// For each host that is addressed: the body, and how many alerts are in it.
    pub(super) to: Vec<(Arc<Host>, Vec<u8>, usize)>,
    /// Alerts that fire for no host of the list; sending them again would change nothing.
    pub(super) unknown: Vec<String>,
    /// Alerts for hosts for which nothing fires: they start nothing there, and a host that is away is not waited for.
    pub(super) resolved: usize,
}

/// Splits a payload that `alert::parse` has found to be one.
pub(super) fn split(mut payload: Value, hosts: &Hosts, label: &str) -> Parts {
    let alerts = match payload.get_mut("alerts").map(Value::take) {
        Some(Value::Array(alerts)) => alerts,
        _ => vec![],
    };
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let of = |alert: &Value| alert.get("labels")?.get(label)?.as_str().map(str::to_owned);
    let fires = |value: &Value| text(value, "/status").is_none_or(|status| status != "resolved");
    // By name, so that the order is the same each time and a retry is the same body.
    let mut by_host: BTreeMap<String, (Arc<Host>, Vec<Value>)> = BTreeMap::new();
    let mut unknown = Vec::new();
    for alert in alerts {
        let instance = of(&alert);
        match instance.as_deref().and_then(|instance| hosts.find(instance)) {
            Some(host) => {
                by_host.entry(host.name.clone()).or_insert_with(|| (Arc::clone(host), vec![])).1.push(alert);
            }
            None if fires(&alert) => unknown.push(instance.unwrap_or_default().chars().take(100).collect()),
            None => {}
        }
    }
    let truncated = payload.get("truncatedAlerts").and_then(Value::as_u64).unwrap_or(0);
    let looks_further = truncated > 0 && fires(&payload);
    if looks_further {
        // What is missing could be anybody's, unless the group is about one host.
        let group_of = payload.get("groupLabels").and_then(|group| group.get(label)).and_then(Value::as_str);
        let about: Vec<&Arc<Host>> = match group_of {
            Some(instance) => hosts.find(instance).into_iter().collect(),
            None => hosts.iter().collect(),
        };
        for host in about {
            by_host.entry(host.name.clone()).or_insert_with(|| (Arc::clone(host), vec![]));
        }
    }
    let (mut to, mut resolved) = (vec![], 0);
    for (_, (host, alerts)) in by_host {
        let count = alerts.len();
        if !looks_further && !alerts.iter().any(fires) {
            resolved += count;
            continue;
        }
        let mut part = payload.clone();
        if let Some(fields) = part.as_object_mut() {
            fields.insert("alerts".to_owned(), Value::Array(alerts));
        }
        to.push((host, serde_json::to_vec(&part).unwrap_or_default(), count));
    }
    Parts { to, unknown, resolved }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::hosts::Defaults;
    use hyper::http::uri::Scheme;
    use serde_json::json;

    fn hosts() -> Hosts {
        Hosts::parse("db1:1\ndb2:1\ndb3:1\n", &Defaults { scheme: Scheme::HTTP, port: None }).expect("a list")
    }

    fn alert(instance: &str, status: &str) -> Value {
        json!({ "status": status, "labels": { "instance": instance, "vg": "v" }, "new": 1 })
    }

    fn ask(payload: Value) -> (Vec<(String, usize)>, Vec<String>, usize) {
        let parts = split(payload, &hosts(), "instance");
        let to = parts.to.iter().map(|(host, _, count)| (host.name.clone(), *count)).collect();
        (to, parts.unknown, parts.resolved)
    }

    #[test]
    fn each_host_gets_its_own_alerts_and_everything_around_them() {
        let payload = json!({ "version": "4", "status": "firing", "groupKey": "k", "later": { "x": [1] },
            "alerts": [alert("db1:9100", "firing"), alert("db2", "firing"), alert("db1", "resolved")] });
        let parts = split(payload, &hosts(), "instance");
        let bodies: Vec<Value> =
            parts.to.iter().map(|(_, body, _)| serde_json::from_slice(body).expect("JSON")).collect();
        assert_eq!(bodies.len(), 2);
        assert_eq!(bodies[0]["alerts"], json!([alert("db1:9100", "firing"), alert("db1", "resolved")]));
        assert_eq!(bodies[1]["alerts"], json!([alert("db2", "firing")]));
        assert!(bodies.iter().all(|body| body["groupKey"] == "k" && body["later"]["x"][0] == 1));
    }

    #[test]
    fn strangers_get_nothing_and_are_named() {
        let payload = json!({ "alerts": [alert("evil:80", "firing"), alert("", "firing"), alert("gone", "resolved"),
            { "status": "firing", "labels": {} }, { "status": "firing" }, alert("db3", "resolved")] });
        assert_eq!(ask(payload), (vec![], vec!["evil:80".to_owned(), String::new(), String::new(), String::new()], 1));
    }

    #[test]
    fn missing_alerts_could_be_anybodys_unless_the_group_says_whose() {
        let all =
            |count: usize| vec![("db1".to_owned() + ":1", count), ("db2:1".to_owned(), 0), ("db3:1".to_owned(), 0)];
        let firing = json!({ "status": "firing", "truncatedAlerts": 3, "alerts": [alert("db1", "firing")] });
        assert_eq!(ask(firing).0, all(1));
        let resolved = json!({ "status": "resolved", "truncatedAlerts": 3, "alerts": [alert("db1", "resolved")] });
        assert_eq!(ask(resolved).0, []);
        let grouped = json!({ "truncatedAlerts": 3, "groupLabels": { "instance": "db2:9100" }, "alerts": [] });
        assert_eq!(ask(grouped).0, [("db2:1".to_owned(), 0)]);
        let strangers = json!({ "truncatedAlerts": 3, "groupLabels": { "instance": "evil" }, "alerts": [] });
        assert_eq!(ask(strangers).0, []);
    }

    #[test]
    fn no_host_gets_the_alerts_of_another_whatever_the_list_calls_them() {
        let list =
            "- { targets: ['db1:1'], labels: { instance: '' } }\n- { targets: ['db2:1'], labels: { instance: '' } }\n";
        let hosts = Hosts::parse(list, &Defaults { scheme: Scheme::HTTP, port: None }).expect("a list");
        let payload = json!({ "status": "firing", "alerts": [alert("db1", "firing"), alert("db2", "firing")] });
        let parts = split(payload, &hosts, "instance");
        let urls: Vec<String> = parts.to.iter().map(|(host, ..)| host.url()).collect();
        assert_eq!(urls, ["http://db1:1/webhook/alertmanager", "http://db2:1/webhook/alertmanager"]);
    }
}
