//! What was copied from 0.1 and is still in use somewhere: its configs are read, and its rules and dashboards ask for
//! metrics that are there. tests/engine/format.rs has its journal.

use std::collections::BTreeSet;
use std::path::Path;

use lvm_autoscaler::config;
use regex::Regex;

use crate::links::{metrics, text};

#[test]
fn configs_of_0_1_are_read() {
    for (name, targets) in [("config.yaml", 2), ("full.yaml", 4)] {
        let name = format!("tests/data/0.1/{name}");
        let config = config::parse(&text(&name), Path::new(&name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.targets.len(), targets, "{name}");
    }
    let name = "tests/data/0.1/web-config.yml";
    let web = config::web::parse(&text(name), Path::new(name)).unwrap_or_else(|error| panic!("{error}"));
    assert!(web.tls.is_some() && web.users.len() == 1 && web.headers.len() == 2);
}

/// The words of an expression that may be metrics of ours.
fn asked(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"(?:^|[^:\w])(lvm_[a-z_]+(?::[a-z0-9_]+)*)").expect("an expression");
    name.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn rules_and_dashboards_of_0_1_ask_for_what_there_is() {
    let mut known = metrics();
    // A label; and the name of a job.
    known.extend(["lvm_autoscaler".to_owned(), "lvm_autoscaler_relay".to_owned()]);
    let mut checked = 0;
    let rules = ["recording.yml", "triggers.yml", "triggers-node-exporter.yml"];
    let recorded = rules.map(|file| text(&format!("tests/data/0.1/{file}"))).concat();
    for file in [&rules[..], &["people.yml", "host-detail.json", "fleet-overview.json"]].concat() {
        let used = text(&format!("tests/data/0.1/{file}"));
        for metric in asked(&used) {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end));
            let is_there = known.contains(&metric)
                || bare.is_some_and(|bare| known.contains(bare))
                || metric.contains(':') && recorded.contains(&format!("record: {metric}\n"));
            assert!(is_there, "{file} asks for {metric}");
            checked += 1;
        }
    }
    // The alerts of its triggers are those that the daemon acts on.
    for file in ["triggers.yml", "triggers-node-exporter.yml"] {
        assert!(text(&format!("tests/data/0.1/{file}")).contains("          lvm_autoscaler: extend\n"), "{file}");
    }
    assert!(checked > 100, "only {checked} names were found");
}
