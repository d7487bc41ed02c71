//! Labels -> the target they name, or why not.
//!
//! A volume can be named by `vg` and `lv` (our own metrics), `lv_path`, `device` or `mountpoint` (node_exporter). All
//! labels that are present must agree, and the label `instance` must name this host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use crate::config::Config;
use crate::inventory::Inventory;
use crate::name::{LvRef, MountPoint, NameError};
use crate::plan::{Code, Refusal};

/// The names and addresses under which this host is scraped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnNames(Vec<String>);

impl OwnNames {
    /// Names and addresses, with or without a port, in any case.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> OwnNames {
        // An empty name would make every alert without a host one of ours.
        OwnNames(names.into_iter().map(|name| host_of(name.as_ref())).filter(|name| !name.is_empty()).collect())
    }

    /// Whether the value of a label `instance` means this host. The port is ignored.
    pub fn contains(&self, instance: &str) -> bool {
        self.0.contains(&host_of(instance))
    }
}

/// `DB1.example.com.:9100` is `db1.example.com`, `[::1]:9100` and `0:0:0:0:0:0:0:1` are `::1`.
fn host_of(instance: &str) -> String {
    let bare = match instance.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        // More than one colon and no brackets: an IPv6 address without a port.
        None if instance.matches(':').count() > 1 => instance,
        None => instance.split(':').next().unwrap_or(instance),
    };
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => bare.trim_end_matches('.').to_ascii_lowercase(),
    }
}

/// Finds the configured target that the labels name.
pub fn resolve(
    labels: &BTreeMap<String, String>,
    config: &Config,
    own: &OwnNames,
    inventory: &Inventory,
) -> Result<LvRef, Refusal> {
    this_host(labels.get("instance").map(String::as_str), own)?;
    let names = named(labels, config, inventory)?;
    let Some((first_label, lv)) = names.first() else {
        let sentence = "the alert names no volume, expected labels vg and lv, lv_path, device or mountpoint";
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

fn this_host(instance: Option<&str>, own: &OwnNames) -> Result<(), Refusal> {
    let sentence = match instance {
        Some(instance) if own.contains(instance) => return Ok(()),
        Some(instance) => format!("instance {instance:?} is not this host: list it in webhook.instances if it is"),
        None => {
            "the alert has no label instance, so it could be any host's: keep it when the rule aggregates".to_owned()
        }
    };
    Err(Refusal::new(Code::OtherHost, sentence))
}

/// Every label that names a volume, with the volume it names.
fn named<'a>(
    labels: &'a BTreeMap<String, String>,
    config: &Config,
    inventory: &Inventory,
) -> Result<Vec<(&'a str, LvRef)>, Refusal> {
    let get = |label: &str| labels.get(label).map(String::as_str).filter(|value| !value.is_empty());
    let mut names = Vec::new();
    match (get("vg"), get("lv")) {
        // Each by itself: joined first, `/dev` and `vg/lv` would be a volume.
        (Some(vg), Some(lv)) => names.push(("vg and lv", LvRef { vg: parse(vg, "vg")?, lv: parse(lv, "lv")? })),
        (None, None) => {}
        _ => {
            return Err(Refusal::new(
                Code::UnknownTarget,
                "of the labels vg and lv only one is there, both are needed",
            ));
        }
    }
    if let Some(path) = get("lv_path") {
        names.push(("lv_path", parse(path, "lv_path")?));
    }
    if let Some(device) = get("device") {
        names.push(("device", by_device(device, inventory)?));
    }
    if let Some(path) = get("mountpoint") {
        let others = !names.is_empty();
        names.push(("mountpoint", by_mount_point(path, others, config, inventory)?));
    }
    Ok(names)
}

fn parse<T: FromStr<Err = NameError>>(text: &str, label: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::new(Code::UnknownTarget, format!("{label}: {error}")))
}

fn by_device(device: &str, inventory: &Inventory) -> Result<LvRef, Refusal> {
    let Some(minor) = device.trim_start_matches("/dev/").strip_prefix("dm-") else {
        return parse(device, "device");
    };
    let found = inventory.lvs.iter().find(|lv| lv.device.is_some_and(|number| number.minor.to_string() == minor));
    let unknown = || Refusal::new(Code::UnknownTarget, format!("device {device:?} is no logical volume of this host"));
    found.map(|lv| lv.name.clone()).ok_or_else(unknown)
}

fn by_mount_point(path: &str, others: bool, config: &Config, inventory: &Inventory) -> Result<LvRef, Refusal> {
    let unknown = |why: String| Refusal::new(Code::UnknownTarget, format!("mountpoint: {why}"));
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
                "mountpoint {point} is not where a target of this host is mounted, the other labels name one that is"
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
