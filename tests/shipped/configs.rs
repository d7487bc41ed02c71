//! The configs that are shipped load, and configs/full.yaml has every key that there is.

use std::collections::BTreeSet;
use std::path::Path;

use lvm_autoscaler::config;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("readable")
}

#[test]
fn shipped_configs_load() {
    for path in ["configs/config.yaml", "configs/full.yaml", "configs/simulated.yaml"] {
        let config = config::parse(&file(path), Path::new(path)).unwrap_or_else(|error| panic!("{error}"));
        assert!(!config.targets.is_empty(), "{path}");
    }
}

#[test]
fn the_shipped_web_config_loads() {
    let path = "configs/web-config.yml";
    let web = config::web::parse(&file(path), Path::new(path)).unwrap_or_else(|error| panic!("{error}"));
    assert!(web.tls.is_some() && web.users.len() == 1 && web.headers.len() == 2);
}

/// `raw.rs` mirrors the file: each public field of it is a key.
#[test]
fn the_full_config_has_every_key() {
    let keys: BTreeSet<String> = file("src/config/raw.rs")
        .lines()
        .filter_map(|line| {
            Some(line.trim().strip_prefix("pub ")?.split_once(": ")?.0.trim_start_matches("r#").to_owned())
        })
        .collect();
    assert!(keys.contains("lv_path") && keys.len() > 20, "raw.rs is not what this test takes it for: {keys:?}");
    let shown = keys_of_the_full_config();
    let missing: Vec<_> = keys.difference(&shown).collect();
    assert!(missing.is_empty(), "configs/full.yaml has no {missing:?}");
}

fn keys_of_the_full_config() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let full = file("configs/full.yaml");
    collect(&serde_yaml::from_str(&full).expect("YAML"), &mut keys);
    // What excludes something else stands in a comment of its own.
    for instead in full.lines().filter_map(|line| line.trim().strip_prefix("# ")) {
        if let Ok(value) = serde_yaml::from_str(instead) {
            collect(&value, &mut keys);
        }
    }
    // Half of the other comments are YAML too, with a sentence as the key.
    keys.retain(|key| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    keys
}

fn collect(value: &serde_yaml::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_yaml::Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            keys.extend(key.as_str().map(str::to_owned));
            collect(value, keys);
        }),
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| collect(item, keys)),
        _ => {}
    }
}

/// docs/configuration.md names every key of configs/full.yaml, and no key that is not there.
#[test]
fn the_reference_has_every_key() {
    let known = keys_of_the_full_config();
    let reference = file("docs/configuration.md");
    let quoted: BTreeSet<&str> = reference
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    let missing: Vec<_> = known.iter().filter(|key| !quoted.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/configuration.md has no {missing:?}");

    let invented: Vec<_> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |"))
        .flat_map(|(first, _)| first.split(", ").map(|key| key.trim_matches('`')))
        .filter(|key| key.split('.').any(|part| !known.contains(part)))
        .collect();
    assert!(invented.is_empty(), "docs/configuration.md names {invented:?}, which configs/full.yaml does not have");
}
