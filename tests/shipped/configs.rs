//! The configs that are shipped load, and configs/full.yaml and the reference have every key that there is.

use std::collections::BTreeSet;
use std::path::Path;

use lvm_autoscaler::config::reference::{Key, Preset, sections};
use lvm_autoscaler::config::{self, Config};
use lvm_autoscaler::filesystem::FsKind;
use serde_yaml::{Mapping, Value};

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

/// The paths of the table of keys.
fn known() -> BTreeSet<String> {
    all().into_iter().map(|key| key.path.into_owned()).collect()
}

fn all() -> Vec<Key> {
    sections().into_iter().flat_map(|section| section.keys).collect()
}

/// What a file with this value at that path is: `a.b[].c` is `{ a: { b: [{ c: .. }] } }`.
fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, step| {
        let (name, value) = match step.strip_suffix("[]") {
            Some(name) => (name, Value::Sequence(vec![value])),
            None => (step, value),
        };
        Value::Mapping([(name.into(), value)].into_iter().collect())
    })
}

fn load(file: &Value) -> Result<Config, String> {
    let yaml = serde_yaml::to_string(file).expect("YAML");
    config::parse(&yaml, Path::new("c.yaml")).map_err(|error| error.to_string())
}

/// The program itself lists the keys of a mapping, when it is given one that it does not know.
#[test]
fn the_reference_has_the_keys_of_the_program_and_no_others() {
    let known = known();
    assert_eq!(known.len(), all().len(), "a key has two rows");
    let mut mappings: BTreeSet<String> = ["", "defaults"].map(str::to_owned).into();
    mappings.extend(known.iter().filter_map(|path| Some(path.rsplit_once('.')?.0.to_owned())));
    for mapping in mappings {
        let unknown: Value = serde_yaml::from_str("{ unheard_of: 1 }").expect("YAML");
        let file = if mapping.is_empty() { unknown } else { at(&mapping, unknown) };
        let error = load(&file).expect_err("an unknown key");
        let (_, expected) = error.split_once("unheard_of: unknown key, expected ").expect(&error);
        let expected = expected.split(';').next().unwrap_or_default();
        let takes: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        let children = |of: &str| {
            let before = if of.is_empty() { String::new() } else { format!("{of}.") };
            let rests = known.iter().filter_map(move |path| path.strip_prefix(before.as_str()));
            rests.filter(|rest| !rest.contains('.')).collect::<BTreeSet<&str>>()
        };
        let mut listed = children(&mapping);
        // Whatever a target takes, but what names one.
        if ["defaults", "policies[]"].contains(&mapping.as_str()) {
            let of_target = children("monitor.targets[]");
            listed.extend(of_target.iter().filter(|key| !["lv_path", "mount_point", "thin_pool"].contains(key)));
        }
        assert_eq!(listed, takes, "the keys of {mapping:?}");
    }
}

/// A key in a target of full.yaml, in its `defaults` or in a policy.
#[test]
fn the_full_config_has_every_key_and_no_other() {
    let full = file("configs/full.yaml");
    let mut shown = BTreeSet::new();
    collect(&serde_yaml::from_str(&full).expect("YAML"), "", &mut shown);
    let shown: BTreeSet<String> = shown
        .into_iter()
        .map(|path| match path.strip_prefix("defaults.").or(path.strip_prefix("policies[].")) {
            Some(rest) if rest != "reserve" && !["name", "match"].contains(&rest.split('.').next().expect("a key")) => {
                format!("monitor.targets[].{rest}")
            }
            _ => path,
        })
        .collect();
    let known = known();
    let invented: Vec<_> = shown.difference(&known).collect();
    assert!(invented.is_empty(), "the reference does not have {invented:?}");
    // What excludes something else stands in a comment of its own.
    let mut instead = BTreeSet::new();
    for comment in full.lines().filter_map(|line| line.trim().strip_prefix("# ")) {
        if let Ok(value) = serde_yaml::from_str(comment) {
            collect(&value, "", &mut instead);
        }
    }
    let is_shown = |path: &String| shown.contains(path) || instead.iter().any(|end| path.ends_with(&format!(".{end}")));
    let missing: Vec<_> = known.iter().filter(|path| !is_shown(path)).collect();
    assert!(missing.is_empty(), "configs/full.yaml does not have {missing:?}");
}

fn collect(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", key.as_str().unwrap_or_default());
            paths.insert(path.clone());
            collect(value, &path, paths);
        }),
        Value::Sequence(items) => items.iter().for_each(|item| collect(item, &format!("{path}[]"), paths)),
        _ => {}
    }
}

/// The mapping that has the last key of a path, or could have it; of a list the first item that does.
fn holder<'a>(file: &'a mut Value, path: &str) -> Option<(&'a mut Mapping, String)> {
    let Some((first, rest)) = path.split_once('.') else { return Some((file.as_mapping_mut()?, path.to_owned())) };
    match first.strip_suffix("[]") {
        None => holder(file.get_mut(first)?, rest),
        Some(list) => {
            let items = file.get_mut(list)?.as_sequence_mut()?;
            let has = |item: &mut Value| holder(item, rest).is_some_and(|(mapping, key)| mapping.contains_key(&*key));
            let index = items.iter_mut().position(has)?;
            holder(&mut items[index], rest)
        }
    }
}

/// Full.yaml with that value at that place, or without it.
fn changed(path: &str, value: Option<&str>) -> Value {
    let mut file: Value = serde_yaml::from_str(&file("configs/full.yaml")).expect("YAML");
    // Of two keys that exclude one another full.yaml has one in a comment.
    if path.starts_with("webhook.basic_auth") {
        file["webhook"].as_mapping_mut().expect("a mapping").remove("authorization");
    }
    // The keys of file systems have no meaning beside a thin pool, nor the other way round.
    if path == "policies[].match.thin_pool" {
        file["policies"].as_sequence_mut().expect("a list").remove(0);
    }
    // One that has no meaning without another.
    if path == "volume_groups[].grown_disks" {
        file["volume_groups"][0].as_mapping_mut().expect("a mapping").remove("partitions");
    }
    for above in ["webhook.basic_auth", "webhook.client_certificate"] {
        if path.starts_with(&format!("{above}.")) {
            let key = all().into_iter().find(|key| key.path == above).expect("a row");
            let name = above.trim_start_matches("webhook.");
            file["webhook"][name] = serde_yaml::from_str(&key.example).expect("YAML");
        }
    }
    let (mapping, key) = holder(&mut file, path).expect(path);
    match value {
        Some(value) => drop(mapping.insert(key.into(), serde_yaml::from_str(value).expect("YAML"))),
        None => drop(mapping.remove(&*key)),
    }
    file
}

#[test]
fn the_examples_of_the_reference_are_accepted() {
    for key in all() {
        let file = changed(&key.path, Some(&key.example));
        load(&file).unwrap_or_else(|error| panic!("{}: {}: {error}", key.path, key.example));
        // And what the values are is not a guess: a list is no number.
        load(&changed(&key.path, Some("[[]]"))).expect_err(&key.path);
    }
}

/// Who leaves out a key has what the reference says.
#[test]
fn the_defaults_of_the_reference_are_those_of_the_program() {
    let mut same = 0;
    for key in all() {
        let without = load(&changed(&key.path, None));
        match key.default {
            Preset::Required => drop(without.expect_err(&key.path)),
            Preset::Means(_) => {}
            Preset::Is(value) => {
                let with = load(&changed(&key.path, Some(value))).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(without, Ok(with), "{}", key.path);
                same += 1;
                // Another value makes a difference, so that the comparison means something.
                if value != key.example {
                    assert_ne!(load(&changed(&key.path, Some(&key.example))), without, "{}", key.path);
                }
            }
        }
    }
    assert!(same > 30, "only {same} defaults were compared");
}

/// The kinds of file system that stand in sentences are those that there are.
#[test]
fn lists_of_file_systems_name_all_that_grow() {
    let key = all().into_iter().find(|key| key.path == "policies[].match.fs").expect("a row");
    let guards = file("docs/guards.md");
    let guard = guards.lines().find(|line| line.contains("`fs_unsupported`")).expect("a row");
    for name in FsKind::ALL.iter().flat_map(|kind| kind.about().names) {
        assert!(key.values.contains(&format!("`{name}`")), "{} lacks {name}", key.path);
        assert!(guard.to_lowercase().contains(name), "{guard} lacks {name}");
    }
}
