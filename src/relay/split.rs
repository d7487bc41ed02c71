//! One payload for all hosts -> one for each host. What is not understood is passed on as it is.
//!
//! Nothing is read into a tree, which would cost a hundred times the body: parts are put together from slices of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::hosts::{Hosts, RelayedHost};

/// Instances of nobody that are named in an answer; the others are counted.
const MOST_NAMED: usize = 100;
/// The parts together. Each has everything around the alerts, which is a few hundred bytes in a payload of
/// Alertmanager.
const MOST_PASSED_ON: usize = 16 << 20;

/// Who gets what.
pub(super) struct Parts {
    /// For each host that is addressed: the body, and how many alerts are in it.
    pub(super) to: Vec<(Arc<RelayedHost>, Vec<u8>, usize)>,
    /// What the label says in the first alerts that fire for no host of the list; sending them again would change
    /// nothing.
    pub(super) unknown: Vec<String>,
    /// How many they are.
    pub(super) unknown_count: usize,
    /// Alerts for hosts for which nothing fires: they start nothing there, and a host that is away is not waited for.
    pub(super) resolved: usize,
}

impl Parts {
    /// The bytes of all bodies.
    pub(super) fn size(&self) -> usize {
        self.to.iter().map(|(_, body, _)| body.len()).sum()
    }
}

/// Why a payload cannot be split.
#[derive(Debug, thiserror::Error)]
pub(super) enum SplitError {
    #[error("the body is not JSON")]
    Json(#[from] serde_json::Error),
    #[error(
        "the payload without its alerts would be {0} bytes for all hosts together, and at most {MOST_PASSED_ON} are forwarded"
    )]
    TooLarge(usize),
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// What is read of an alert.
struct Alert<'a> {
    instance: Option<String>,
    fires: bool,
    whole: &'a RawValue,
}

impl<'a> Alert<'a> {
    fn of(whole: &'a RawValue, label: &str) -> Alert<'a> {
        let fields: Fields<'_> = read(whole).unwrap_or_default();
        let labels: Fields<'_> = fields.get("labels").and_then(|labels| read(labels)).unwrap_or_default();
        Alert { instance: labels.get(label).and_then(|value| read(value)), fires: fires(&fields), whole }
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn fires(fields: &Fields<'_>) -> bool {
    fields.get("status").and_then(|status| read::<String>(status)).is_none_or(|status| status != "resolved")
}

/// Splits a payload that `alert::parse` has found to be one.
pub(super) fn split(body: &[u8], hosts: &Hosts, label: &str) -> Result<Parts, SplitError> {
    let mut around: Fields<'_> = serde_json::from_slice(body)?;
    let alerts: Vec<&RawValue> = around.remove("alerts").and_then(read).unwrap_or_default();
    // By name, so that the order is the same each time and a retry is the same body.
    let mut by_host: BTreeMap<String, (Arc<RelayedHost>, Vec<Alert<'_>>)> = BTreeMap::new();
    let (mut unknown, mut unknown_count) = (vec![], 0);
    for alert in alerts.into_iter().map(|alert| Alert::of(alert, label)) {
        match alert.instance.as_deref().and_then(|instance| hosts.find(instance)) {
            Some(host) => {
                by_host.entry(host.name.clone()).or_insert_with(|| (Arc::clone(host), vec![])).1.push(alert);
            }
            None if alert.fires => {
                if unknown.len() < MOST_NAMED {
                    unknown.push(alert.instance.unwrap_or_default().chars().take(100).collect());
                }
                unknown_count += 1;
            }
            None => {}
        }
    }
    let truncated = around.get("truncatedAlerts").and_then(|count| read::<u64>(count)).unwrap_or(0);
    let looks_further = truncated > 0 && fires(&around);
    if looks_further {
        // What is missing could be anybody's, unless the group is about one host.
        let group: Fields<'_> = around.get("groupLabels").and_then(|group| read(group)).unwrap_or_default();
        let about: Vec<&Arc<RelayedHost>> = match group.get(label).and_then(|value| read::<String>(value)) {
            Some(instance) => hosts.find(&instance).into_iter().collect(),
            None => hosts.iter().collect(),
        };
        for host in about {
            by_host.entry(host.name.clone()).or_insert_with(|| (Arc::clone(host), vec![]));
        }
    }
    let mut parts = Parts { to: vec![], unknown, unknown_count, resolved: 0 };
    by_host.retain(|_, (_, alerts)| {
        let is_addressed = looks_further || alerts.iter().any(|alert| alert.fires);
        parts.resolved += if is_addressed { 0 } else { alerts.len() };
        is_addressed
    });
    let around = serde_json::to_string(&around)?;
    let size = around.len() * by_host.len() + body.len();
    if size > MOST_PASSED_ON {
        return Err(SplitError::TooLarge(size));
    }
    for (host, alerts) in by_host.into_values() {
        parts.to.push((host, part(&around, &alerts), alerts.len()));
    }
    Ok(parts)
}

/// An object with these alerts besides what is around them.
fn part(around: &str, alerts: &[Alert<'_>]) -> Vec<u8> {
    let others = around.trim_start_matches('{');
    let list: Vec<&str> = alerts.iter().map(|alert| alert.whole.get()).collect();
    let comma = if others == "}" { "" } else { "," };
    format!("{{\"alerts\":[{}]{comma}{others}", list.join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::hosts::Defaults;
    use hyper::http::uri::Scheme;
    use serde_json::{Value, json};

    fn hosts() -> Hosts {
        Hosts::parse("db1:1\ndb2:1\ndb3:1\n", &Defaults { scheme: Scheme::HTTP, port: None }).expect("a list")
    }

    fn alert(instance: &str, status: &str) -> Value {
        json!({ "status": status, "labels": { "instance": instance, "vg": "v" }, "new": 1 })
    }

    fn ask(payload: Value) -> (Vec<(String, usize)>, Vec<String>, usize) {
        let parts = split(payload.to_string().as_bytes(), &hosts(), "instance").expect("a payload");
        assert_eq!(parts.unknown_count, parts.unknown.len());
        let to = parts.to.iter().map(|(host, _, count)| (host.name.clone(), *count)).collect();
        (to, parts.unknown, parts.resolved)
    }

    #[test]
    fn each_host_gets_its_own_alerts_and_everything_around_them() {
        let payload = json!({ "version": "4", "status": "firing", "groupKey": "k", "later": { "x": [1] },
            "alerts": [alert("db1:9100", "firing"), alert("db2", "firing"), alert("db1", "resolved")] });
        let parts = split(payload.to_string().as_bytes(), &hosts(), "instance").expect("a payload");
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
        let parts = split(payload.to_string().as_bytes(), &hosts, "instance").expect("a payload");
        let urls: Vec<String> = parts.to.iter().map(|(host, ..)| host.url()).collect();
        assert_eq!(urls, ["http://db1:1/webhook/alertmanager", "http://db2:1/webhook/alertmanager"]);
    }

    /// A kilobyte around the alerts for each of a thousand hosts is nothing; half a megabyte is somebody who wants our
    /// memory.
    #[test]
    fn what_is_passed_on_is_bounded_and_so_is_what_is_named() {
        let list: String = (0..1000).map(|n| format!("db{n}:1\n")).collect();
        let hosts = Hosts::parse(&list, &Defaults { scheme: Scheme::HTTP, port: None }).expect("a list");
        let payload = |around: usize| json!({ "truncatedAlerts": 1, "alerts": [], "commonAnnotations": { "x": "x".repeat(around) } });
        let parts = split(payload(1000).to_string().as_bytes(), &hosts, "instance").expect("a payload");
        assert_eq!(parts.to.len(), 1000);
        let refused = split(payload(500_000).to_string().as_bytes(), &hosts, "instance").err().expect("too large");
        assert!(refused.to_string().contains("bytes for all hosts together"), "{refused}");
        let many = json!({ "alerts": vec![alert("evil", "firing"); 5000] });
        let parts = split(many.to_string().as_bytes(), &hosts, "instance").expect("a payload");
        assert_eq!((parts.unknown.len(), parts.unknown_count), (MOST_NAMED, 5000));
    }
}
