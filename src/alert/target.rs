//! Labels -> the target they name, or why not.
//!
//! A volume can be named by `vg` and `lv` (our own metrics), `lv_path`, `device` or `mountpoint` (node_exporter). All
//! labels that are present must agree, and the label `instance` must name this host. The config may give the labels
//! other names.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::instance::OwnNames;
use crate::config::{Config, LabelNames};
use crate::inventory::{DeviceNumber, Inventory};
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
        let sentence = format!(
            "the alert names no volume: it needs the labels {vg} and {lv}, or one of {lv_path}, {device} and {mountpoint}"
        );
        return Err(Refusal::new(Code::UnknownTarget, sentence));
    };
    if let Some((label, other)) = names.iter().find(|(_, other)| other != lv) {
        let sentence = format!("{first_label} means {lv} and {label} means {other}: the labels of an alert must agree");
        return Err(Refusal::new(Code::AmbiguousAlert, sentence));
    }
    match config.target(lv) {
        Some(_) => Ok(lv.clone()),
        None => {
            Err(Refusal::new(Code::UnknownTarget, format!("{}: add it if it should grow", config.not_a_target(lv))))
        }
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
            let sentence = format!("the alert has only one of the labels {vg_label} and {lv_label}: it needs both");
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
        let others: Vec<&LvRef> = names.iter().map(|(_, lv)| lv).collect();
        let lv = by_mount_point(path, mountpoint, &others, config, inventory)?;
        names.push((mountpoint.clone(), lv));
    }
    Ok(names)
}

fn parse<T: FromStr<Err = NameError>>(text: &str, label: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::new(Code::UnknownTarget, format!("{label}: {error}")))
}

fn by_device(device: &str, label: &str, inventory: &Inventory) -> Result<LvRef, Refusal> {
    let mapping = inventory.mappings.iter().find(|mapping| mapping.path().as_os_str() == device);
    if let Some(mapping) = mapping {
        return Ok(mapping.lv.clone());
    }
    let Some(minor) = device.trim_start_matches("/dev/").strip_prefix("dm-") else {
        return parse(device, label);
    };
    let is_meant = |number: DeviceNumber| number.minor.to_string() == minor;
    let mapping = inventory.mappings.iter().find(|mapping| is_meant(mapping.device)).map(|mapping| &mapping.lv);
    let volume = inventory.lvs.iter().find(|lv| lv.device.is_some_and(is_meant)).map(|lv| &lv.name);
    let unknown = || Refusal::new(Code::UnknownTarget, format!("{label} {device:?} is no logical volume of this host"));
    mapping.or(volume).cloned().ok_or_else(unknown)
}

/// Where a node_exporter in a container usually sees the host's root (its own documentation, cAdvisor's, and the Helm
/// charts'). node_exporter puts it before each mount point unless `--path.rootfs` names it.
const USUAL_PREFIXES: [&str; 4] = ["/rootfs", "/host", "/host/root", "/hostfs"];

/// What a path means on this host.
#[derive(PartialEq, Eq)]
enum Place<'a> {
    /// A target's mount point, or where a volume is mounted.
    Volume(&'a LvRef),
    /// Something else is mounted there.
    Other,
    Nothing,
}

/// The path as it is first; what stands behind a prefix counts where that is configured, or where all other labels name
/// that very volume. Whenever two readings lead to two volumes, none is taken.
fn by_mount_point(
    path: &str,
    label: &str,
    others: &[&LvRef],
    config: &Config,
    inventory: &Inventory,
) -> Result<LvRef, Refusal> {
    let unknown = |why: String| Refusal::new(Code::UnknownTarget, format!("{label}: {why}"));
    let point: MountPoint = path.parse().map_err(|error| unknown(format!("{error}")))?;
    let place = |point: &MountPoint| place(point, config, inventory);
    let exact = place(&point);
    let configured = &config.webhook.mount_point_prefixes;
    let behind = configured.iter().filter_map(|prefix| point.below(prefix.as_str()));
    let mut readings: Vec<Place<'_>> = behind.map(|point| place(&point)).collect();
    if exact == Place::Nothing && !others.is_empty() {
        readings.extend(USUAL_PREFIXES.iter().filter_map(|prefix| point.below(prefix)).map(|point| place(&point)));
    }
    readings.insert(0, exact);
    let is_meant = |lv: &LvRef| others.iter().all(|other| *other == lv);
    let mut meant: Vec<&LvRef> = readings
        .iter()
        .filter_map(|place| if let Place::Volume(lv) = place { Some(*lv) } else { None })
        .filter(|lv| is_meant(lv))
        .collect();
    meant.dedup();
    let prefixed = hint(&point, config).filter(|_| readings.first() == Some(&Place::Nothing)).unwrap_or_default();
    match (readings.first(), meant.as_slice()) {
        (Some(Place::Other), [lv]) if others.is_empty() => Err(Refusal::new(
            Code::AmbiguousAlert,
            format!("{label} {point}: something else than {lv} is mounted there, and {lv} behind the prefix"),
        )),
        (_, [lv]) => Ok((*lv).clone()),
        (_, [first, .., last]) => Err(Refusal::new(
            Code::AmbiguousAlert,
            format!("{label} {point} means {first} or, behind a prefix, {last}: see webhook.mount_point_prefixes"),
        )),
        // A volume that the other labels do not name: said by whoever compares all of them.
        (Some(Place::Volume(lv)), []) => Ok((*lv).clone()),
        (_, []) if !others.is_empty() => {
            let sentence = format!(
                "{label} {point} is not where a target of this host is mounted, the other labels name one that is{prefixed}"
            );
            Err(Refusal::new(Code::AmbiguousAlert, sentence))
        }
        (_, []) => Err(unknown(format!("{point} is not the mount_point of any target{prefixed}"))),
    }
}

fn place<'a>(point: &MountPoint, config: &'a Config, inventory: &'a Inventory) -> Place<'a> {
    if let Some(target) = config.targets.iter().find(|target| target.mount_point() == Some(point)) {
        return Place::Volume(&target.lv);
    }
    // One volume may be mounted at several places; the config names one of them and an alert may name another.
    let Some(mount) = inventory.mount_at(point) else { return Place::Nothing };
    inventory.lv_by_device(mount.device).map_or(Place::Other, |lv| Place::Volume(&lv.name))
}

/// The likely reason why a path means nothing here, if it ends like a target's.
fn hint(point: &MountPoint, config: &Config) -> Option<String> {
    let ends = |target: &MountPoint| match point.as_str().strip_suffix(target.as_str()) {
        Some(prefix) if target.as_str() != "/" => (!prefix.is_empty()).then(|| prefix.to_owned()),
        _ => USUAL_PREFIXES.iter().find(|prefix| point.below(prefix).as_ref() == Some(target)).map(ToString::to_string),
    };
    let targets = config.targets.iter().filter_map(|target| target.mount_point());
    // The longest, so that /rootfs/srv/data is /srv/data and not /data.
    let (target, prefix) =
        targets.filter_map(|target| Some((target, ends(target)?))).max_by_key(|(target, _)| target.as_str().len())?;
    Some(format!(
        "; if a node_exporter in a container means {target}, start it with --path.rootfs={prefix}, or add {prefix} to \
         webhook.mount_point_prefixes"
    ))
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

    /// A node_exporter in a container puts the folder in which it sees the host's root before each mount point.
    #[test]
    fn a_prefix_is_taken_away_only_where_nothing_else_can_be_meant() {
        const HOST: &str = "monitor:\n  targets:\n    - { lv_path: /dev/vg/data, mount_point: /data }\n    \
            - { lv_path: /dev/vg/root, mount_point: / }\n    - { lv_path: /dev/vg/deep, mount_point: /rootfs/deep }\n    \
            - { lv_path: /dev/vg/both, mount_point: /both }\n    - { lv_path: /dev/vg/two, mount_point: /rootfs/both }\n    \
            - { lv_path: /dev/vg/foreign, mount_point: /foreign }\n";
        let mut inventory = Inventory::empty(Timestamp::UNIX_EPOCH);
        let table = "33 1 8:1 / /rootfs/foreign rw - ext4 /dev/sda1 rw\n34 1 8:2 / /host/data rw - ext4 /dev/sda2 rw\n";
        inventory.mounts = crate::inventory::mounts::parse(table.as_bytes()).0;
        let ask = |prefixes: &str, point: &str, device: &str| {
            let yaml = format!("{HOST}webhook: {{ mount_point_prefixes: [{prefixes}] }}\n");
            let config = crate::config::parse(&yaml, "c.yaml".as_ref()).expect("valid");
            let labels = [("instance", "db1"), ("mountpoint", point), ("device", device)];
            let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            resolve(&labels, &config, &OwnNames::new(["db1"]), &inventory).map(|lv| lv.to_string())
        };
        let meant = |prefixes: &str, point: &str, device: &str| match ask(prefixes, point, device) {
            Ok(lv) => lv,
            Err(refusal) => refusal.code.to_string(),
        };
        for (prefixes, point, device, expected) in [
            // Not configured: only with the device, and only where the path is nothing here.
            ("", "/rootfs/data", "", "unknown_target"),
            ("", "/rootfs/data", "/dev/mapper/vg-data", "vg/data"),
            ("", "/host/root/data", "/dev/mapper/vg-data", "vg/data"),
            ("", "/rootfs", "/dev/mapper/vg-root", "vg/root"),
            ("", "/rootfs", "", "unknown_target"),
            ("", "/rootfs/data", "/dev/mapper/vg-root", "ambiguous_alert"),
            ("", "/rootfs", "/dev/mapper/vg-data", "ambiguous_alert"),
            ("", "/rootfsdata", "/dev/mapper/vg-data", "ambiguous_alert"),
            ("", "/odd/data", "/dev/mapper/vg-data", "ambiguous_alert"),
            ("", "/host/data", "/dev/mapper/vg-data", "ambiguous_alert"),
            ("", "/rootfs/deep", "", "vg/deep"),
            ("", "/rootfs/both", "/dev/mapper/vg-both", "ambiguous_alert"),
            // Configured: without the device as well.
            ("/rootfs", "/rootfs/data", "", "vg/data"),
            ("/rootfs/", "/rootfs/", "", "vg/root"),
            ("/rootfs", "/data", "", "vg/data"),
            ("/odd", "/odd/data", "", "vg/data"),
            ("/rootfs", "/rootfs/rootfs/deep", "", "vg/deep"),
            ("/rootfs", "/rootfs/deep", "", "vg/deep"),
            ("/rootfs", "/rootfsdata", "", "unknown_target"),
            ("/rootfs", "/rootfs/nothing", "", "unknown_target"),
            ("/rootfs", "/rootfs/data", "/dev/mapper/vg-root", "ambiguous_alert"),
            // It may be either, unless the device says which.
            ("/rootfs", "/rootfs/both", "", "ambiguous_alert"),
            ("/rootfs", "/rootfs/both", "/dev/mapper/vg-both", "vg/both"),
            ("/rootfs", "/rootfs/both", "/dev/mapper/vg-two", "vg/two"),
            ("/rootfs", "/rootfs/foreign", "", "ambiguous_alert"),
            ("/rootfs", "/rootfs/foreign", "/dev/mapper/vg-foreign", "vg/foreign"),
            ("/host, /host/root", "/host/root/data", "", "vg/data"),
        ] {
            assert_eq!(meant(prefixes, point, device), expected, "[{prefixes}] {point} {device}");
        }
        let told = ask("", "/rootfs/data", "").expect_err("it may be anything").sentence;
        assert!(told.contains("--path.rootfs=/rootfs, or add /rootfs to webhook.mount_point_prefixes"), "{told}");
        let told = ask("", "/odd/data", "/dev/mapper/vg-data").expect_err("it may be anything").sentence;
        assert!(told.contains("means /data, start it with --path.rootfs=/odd, or add /odd to"), "{told}");
        let told = ask("", "/elsewhere", "").expect_err("it is nothing").sentence;
        assert!(!told.contains("container"), "{told}");
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
        inventory.mounts = crate::inventory::mounts::parse(table.as_bytes()).0;
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
