//! Labels -> the target they name, or why not.
//!
//! A volume can be named by `vg` and `lv` (our own metrics), `lv_path`, `device` or `mountpoint` (node_exporter). All
//! labels that are present must agree, and the label `instance` must name this host. The config may give the labels
//! other names.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::instance::OwnNames;
use crate::config::{Config, LabelNames};
use crate::inventory::Inventory;
use crate::name::{LvRef, MountPoint, NameError};
use crate::plan::{Code, Refusal};

/// Finds the configured target that the labels name.
pub fn resolve(
    labels: &BTreeMap<String, String>,
    config: &Config,
    own: &OwnNames,
    inventory: &Inventory,
) -> Result<LvRef, Refusal> {
    let label = &config.webhook.labels;
    this_host(&label.instance, labels.get(&label.instance).map(String::as_str), own)?;
    let names = named(labels, config, inventory)?;
    let Some((first_label, lv)) = names.first() else {
        let LabelNames { vg, lv, lv_path, device, mountpoint, .. } = label;
        let sentence =
            format!("the alert names no volume, expected labels {vg} and {lv}, {lv_path}, {device} or {mountpoint}");
        return Err(Refusal::new(Code::UnknownTarget, sentence));
    };
    if let Some((label, other)) = names.iter().find(|(_, other)| other != lv) {
        let sentence = format!("{first_label} means {lv} and {label} means {other}: the labels of an alert must agree");
        return Err(Refusal::new(Code::AmbiguousAlert, sentence));
    }
    match config.target(lv) {
        Some(_) => Ok(lv.clone()),
        None => Err(Refusal::new(
            Code::UnknownTarget,
            format!("{lv} is not among monitor.targets: add it if it should grow"),
        )),
    }
}

fn this_host(label: &str, instance: Option<&str>, own: &OwnNames) -> Result<(), Refusal> {
    let sentence = match instance {
        Some(instance) if own.contains(instance) => return Ok(()),
        Some(instance) => format!("{label} {instance:?} is not this host: list it in webhook.instances if it is"),
        None => format!("the alert has no label {label}, so it could be any host's: keep it when the rule aggregates"),
    };
    Err(Refusal::new(Code::OtherHost, sentence))
}

/// Every label that names a volume, with the volume it names.
fn named(
    labels: &BTreeMap<String, String>,
    config: &Config,
    inventory: &Inventory,
) -> Result<Vec<(String, LvRef)>, Refusal> {
    let LabelNames { vg: vg_label, lv: lv_label, lv_path, device, mountpoint, .. } = &config.webhook.labels;
    let get = |label: &str| labels.get(label).map(String::as_str).filter(|value| !value.is_empty());
    let mut names = Vec::new();
    match (get(vg_label), get(lv_label)) {
        // Each by itself: joined first, `/dev` and `vg/lv` would be a volume.
        (Some(vg), Some(lv)) => {
            let lv = LvRef { vg: parse(vg, vg_label)?, lv: parse(lv, lv_label)? };
            names.push((format!("{vg_label} and {lv_label}"), lv));
        }
        (None, None) => {}
        _ => {
            let sentence = format!("of the labels {vg_label} and {lv_label} only one is there, both are needed");
            return Err(Refusal::new(Code::UnknownTarget, sentence));
        }
    }
    if let Some(path) = get(lv_path) {
        names.push((lv_path.clone(), parse(path, lv_path)?));
    }
    if let Some(path) = get(device) {
        names.push((device.clone(), by_device(path, device, inventory)?));
    }
    if let Some(path) = get(mountpoint) {
        let others = !names.is_empty();
        names.push((mountpoint.clone(), by_mount_point(path, mountpoint, others, config, inventory)?));
    }
    Ok(names)
}

fn parse<T: FromStr<Err = NameError>>(text: &str, label: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::new(Code::UnknownTarget, format!("{label}: {error}")))
}

fn by_device(device: &str, label: &str, inventory: &Inventory) -> Result<LvRef, Refusal> {
    let Some(minor) = device.trim_start_matches("/dev/").strip_prefix("dm-") else {
        return parse(device, label);
    };
    let found = inventory.lvs.iter().find(|lv| lv.device.is_some_and(|number| number.minor.to_string() == minor));
    let unknown = || Refusal::new(Code::UnknownTarget, format!("{label} {device:?} is no logical volume of this host"));
    found.map(|lv| lv.name.clone()).ok_or_else(unknown)
}

fn by_mount_point(
    path: &str,
    label: &str,
    others: bool,
    config: &Config,
    inventory: &Inventory,
) -> Result<LvRef, Refusal> {
    let unknown = |why: String| Refusal::new(Code::UnknownTarget, format!("{label}: {why}"));
    let point: MountPoint = path.parse().map_err(|error| unknown(format!("{error}")))?;
    if let Some(target) = config.targets.iter().find(|target| target.mount_point() == Some(&point)) {
        return Ok(target.lv.clone());
    }
    // One volume may be mounted at several places; the config names one of them and an alert may name another.
    let mounted = inventory.mount_at(&point).and_then(|mount| inventory.lv_by_device(mount.device));
    match mounted {
        Some(lv) => Ok(lv.name.clone()),
        None if others => {
            let sentence = format!(
                "{label} {point} is not where a target of this host is mounted, the other labels name one that is"
            );
            Err(Refusal::new(Code::AmbiguousAlert, sentence))
        }
        None => Err(unknown(format!("{point} is not the mount_point of any target"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    const CONFIG: &str = "monitor:\n  targets:\n    - { lv_path: /dev/vg-a/data, mount_point: /data }\n    \
        - { lv_path: /dev/vg/logs, mount_point: /var/log }\n";

    fn ask(labels: &[(&str, &str)]) -> Result<String, Code> {
        let config = crate::config::parse(CONFIG, "c.yaml".as_ref()).expect("valid");
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let own = OwnNames::new(["db1", "db1.example.com", "192.0.2.7", "2001:db8::7"]);
        let inventory = Inventory::empty(Timestamp::UNIX_EPOCH);
        resolve(&labels, &config, &own, &inventory).map(|lv| lv.to_string()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn every_label_that_names_a_volume() {
        for labels in [
            &[("vg", "vg-a"), ("lv", "data")][..],
            &[("lv_path", "/dev/vg-a/data")],
            &[("device", "/dev/mapper/vg--a-data")],
            &[("mountpoint", "/data")],
            &[("mountpoint", "/data/"), ("device", "/dev/mapper/vg--a-data"), ("fstype", "ext4")],
            &[("vg", "vg-a"), ("lv", "data"), ("mountpoint", "/data"), ("device", "/dev/mapper/vg--a-data")],
        ] {
            let labels = [labels, &[("instance", "db1:9100")]].concat();
            assert_eq!(ask(&labels).as_deref(), Ok("vg-a/data"), "{labels:?}");
        }
    }

    #[test]
    fn this_host_by_any_of_its_names() {
        for instance in [
            "db1",
            "DB1.example.com.:9100",
            "192.0.2.7:19845",
            "[2001:db8::7]:9100",
            "2001:db8:0::7",
            "::ffff:192.0.2.7",
        ] {
            assert!(ask(&[("mountpoint", "/data"), ("instance", instance)]).is_ok(), "{instance}");
        }
        for instance in ["db2:9100", "db1.example.org", "localhost:9100", "127.0.0.1", "192.0.2.70", "", "[", "::"] {
            assert_eq!(ask(&[("mountpoint", "/data"), ("instance", instance)]), Err(Code::OtherHost), "{instance}");
        }
        assert_eq!(ask(&[("mountpoint", "/data")]), Err(Code::OtherHost));
        // A host without a name is nobody's host.
        assert!(!OwnNames::new(["", ":9100", "."]).contains(""));
    }

    /// Who renamed the labels names the same volumes, and the usual labels then mean nothing.
    #[test]
    fn labels_with_other_names() {
        let yaml = format!(
            "{CONFIG}webhook:\n  labels: {{ instance: host, vg: group, lv: volume, lv_path: path, device: dev, mountpoint: mount }}\n"
        );
        let config = crate::config::parse(&yaml, "c.yaml".as_ref()).expect("valid");
        let ask = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let inventory = Inventory::empty(Timestamp::UNIX_EPOCH);
            let own = OwnNames::new(["db1"]);
            resolve(&labels, &config, &own, &inventory).map(|lv| lv.to_string())
        };
        let all = [
            ("host", "db1:1"),
            ("group", "vg-a"),
            ("volume", "data"),
            ("path", "/dev/vg-a/data"),
            ("dev", "/dev/mapper/vg--a-data"),
            ("mount", "/data"),
        ];
        assert_eq!(ask(&all).as_deref(), Ok("vg-a/data"));
        for n in 2..all.len() {
            let mut wrong = all;
            wrong[n].1 = "/dev/vg/logs";
            assert!(ask(&wrong).is_err(), "{} disagrees", all[n].0);
        }
        assert_eq!(ask(&[("host", "db1"), ("mount", "/data"), ("mountpoint", "/var/log")]).as_deref(), Ok("vg-a/data"));
        let refusal = ask(&[("instance", "db1"), ("mount", "/data")]).expect_err("another label names the host");
        assert_eq!(refusal.code, Code::OtherHost);
        assert!(refusal.sentence.contains("no label host"), "{}", refusal.sentence);
    }

    #[test]
    fn what_disagrees_or_is_unknown_is_refused() {
        for (labels, code) in [
            (&[("vg", "vg-a"), ("lv", "data"), ("mountpoint", "/var/log")][..], Code::AmbiguousAlert),
            (&[("device", "/dev/mapper/vg-logs"), ("mountpoint", "/data")], Code::AmbiguousAlert),
            (&[("vg", "vg-a"), ("lv", "data"), ("mountpoint", "/elsewhere")], Code::AmbiguousAlert),
            (&[("vg", "vg-a"), ("lv", "other")], Code::UnknownTarget),
            (&[("vg", "vg-a")], Code::UnknownTarget),
            (&[("device", "/dev/sda1"), ("mountpoint", "/data")], Code::UnknownTarget),
            (&[("device", "/dev/dm-7")], Code::UnknownTarget),
            (&[("vg", "-f"), ("lv", "$(x)")], Code::UnknownTarget),
            (&[("vg", "/dev"), ("lv", "vg-a/data")], Code::UnknownTarget),
            (&[("vg", "/dev/mapper"), ("lv", "vg--a-data")], Code::UnknownTarget),
            (&[("mountpoint", "relative")], Code::UnknownTarget),
            (&[("alertname", "X")], Code::UnknownTarget),
        ] {
            let labels = [labels, &[("instance", "db1")]].concat();
            assert_eq!(ask(&labels), Err(code), "{labels:?}");
        }
    }

    /// Bind mounts, a file system mounted twice, a mount in another namespace that leads here: one volume, one target.
    #[test]
    fn a_second_mount_of_a_volume_is_the_same_target() {
        let config = crate::config::parse(CONFIG, "c.yaml".as_ref()).expect("valid");
        let own = OwnNames::new(["db1"]);
        let report = r#"{"report":[{"vg":[{"vg_name":"vg-a"}],"lv":[{"lv_name":"data","lv_kernel_major":"253",
            "lv_kernel_minor":"7"}]}]}"#;
        let mut inventory = crate::inventory::lvm::parse(report.as_bytes(), Timestamp::UNIX_EPOCH).expect("a report");
        let table = "30 1 253:7 / /data rw - ext4 /dev/mapper/vg--a-data rw\n\
            31 1 253:7 / /second rw - ext4 /dev/mapper/vg--a-data rw\n\
            32 1 253:7 /sub /bound rw - ext4 /dev/mapper/vg--a-data rw\n\
            33 1 8:1 / /elsewhere rw - ext4 /dev/sda1 rw\n";
        inventory.mounts = crate::inventory::mounts::parse(table).0;
        let ask = |point: &str| {
            let labels = [("instance", "db1"), ("mountpoint", point), ("device", "/dev/mapper/vg--a-data")];
            let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            resolve(&labels, &config, &own, &inventory).map(|lv| lv.to_string()).map_err(|refusal| refusal.code)
        };
        for point in ["/data", "/second", "/bound"] {
            assert_eq!(ask(point).as_deref(), Ok("vg-a/data"), "{point}");
        }
        assert_eq!(ask("/elsewhere"), Err(Code::AmbiguousAlert));
    }
}
