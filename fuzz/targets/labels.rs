//! Labels of an alert: whatever they say, what they lead to is a configured target of this host that every one of them
//! names. Names and values take turns, with a byte between them that no text has.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use lvm_autoscaler::alert::instance::OwnNames;
use lvm_autoscaler::alert::target::resolve;
use lvm_autoscaler::config::{self, Config};
use lvm_autoscaler::inventory::{Inventory, lvm, mounts};
use lvm_autoscaler::name::{LvRef, MountPoint};
use lvm_autoscaler::plan::Code;

const BETWEEN: u8 = 0xFF;

const TARGETS: &str = "monitor:\n  targets:\n    - { lv_path: /dev/vg-a/data, mount_point: /data }\n    \
    - { lv_path: /dev/vg-a/logs-1, mount_point: /var/log }\n    - { thin_pool: vg/pool }\n";
const PREFIXES: &str = "webhook: { mount_point_prefixes: [/rootfs, /srv] }\n";
const OTHER_NAMES: &str =
    "webhook:\n  labels: { instance: host, vg: group, lv: volume, lv_path: path, device: dev, mountpoint: mount }\n";

/// With logs-1 mounted a second time, and a volume that is no target.
const REPORT: &str = r#"{"report":[{"vg":[{"vg_name":"vg-a"}],"lv":[
    {"lv_name":"data","lv_uuid":"1","lv_kernel_major":"254","lv_kernel_minor":"0"},
    {"lv_name":"logs-1","lv_uuid":"2","lv_kernel_major":"254","lv_kernel_minor":"1"},
    {"lv_name":"other","lv_uuid":"3","lv_kernel_major":"254","lv_kernel_minor":"2"}]}]}"#;
const MOUNTS: &str = "21 1 254:0 / /data rw - ext4 /dev/dm-0 rw\n22 1 254:1 / /var/log rw - xfs /dev/dm-1 rw\n\
    23 1 254:1 / /srv/log rw - xfs /dev/dm-1 rw\n24 1 254:2 / /other rw - xfs /dev/dm-2 rw\n";

struct Host {
    configs: [Config; 3],
    inventory: Inventory,
    own: OwnNames,
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let parse = |yaml: &str| config::parse(yaml, "c.yaml".as_ref()).expect("valid");
        let mut inventory = lvm::parse(REPORT.as_bytes(), Timestamp::UNIX_EPOCH).expect("a report");
        inventory.mounts = mounts::parse(MOUNTS.as_bytes()).0;
        let own = OwnNames::new(["db1", "db1.example.com", "192.0.2.7", "2001:db8::7"]);
        let configs = ["", OTHER_NAMES, PREFIXES].map(|more| parse(&format!("{TARGETS}{more}")));
        Host { configs, inventory, own }
    })
}

pub fn run(data: &[u8]) {
    let texts: Vec<String> =
        data.split(|byte| *byte == BETWEEN).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let labels: BTreeMap<String, String> =
        texts.chunks(2).map(|pair| (pair[0].clone(), pair.get(1).cloned().unwrap_or_default())).collect();
    for config in &host().configs {
        check(&labels, config);
    }
}

fn check(labels: &BTreeMap<String, String>, config: &Config) {
    let Host { inventory, own, .. } = host();
    let ask = |labels: &BTreeMap<String, String>| resolve(labels, config, own, inventory);
    let names = &config.webhook.labels;
    let found = match ask(labels) {
        Ok(lv) => lv,
        Err(refusal) => {
            super::assert_plain(&refusal.sentence);
            let codes = [Code::UnknownTarget, Code::OtherHost, Code::AmbiguousAlert];
            assert!(codes.contains(&refusal.code), "{refusal}");
            return;
        }
    };
    assert!(config.target(&found).is_some(), "{found} is no target");
    let instance = labels.get(&names.instance).expect("an alert of nobody is another host's");
    assert!(own.contains(instance), "{instance:?} is another host");

    let get = |label: &str| labels.get(label).filter(|value| !value.is_empty());
    if let Some(vg) = get(&names.vg) {
        assert_eq!(vg, found.vg.as_str());
    }
    if let Some(lv) = get(&names.lv) {
        assert_eq!(lv, found.lv.as_str());
    }
    if let Some(path) = get(&names.lv_path) {
        assert_eq!(path.parse::<LvRef>().as_ref(), Ok(&found));
    }
    if let Some(device) = get(&names.device) {
        let device = match device.trim_start_matches("/dev/") {
            "dm-0" => "vg-a/data",
            "dm-1" => "vg-a/logs-1",
            _ => device,
        };
        assert_eq!(device.parse::<LvRef>().as_ref(), Ok(&found));
    }
    if let Some(point) = get(&names.mountpoint) {
        let point: MountPoint = point.parse().expect("a mount point");
        let places: &[&str] = match found.lv.as_str() {
            "data" => &["/data"],
            "logs-1" => &["/var/log", "/srv/log"],
            _ => &[],
        };
        // As a container sees it, where the config says so or another label names the volume too.
        let configured = config.webhook.mount_point_prefixes.iter().map(MountPoint::as_str);
        let named = [&names.vg, &names.lv_path, &names.device].into_iter().any(|label| get(label).is_some());
        let usual = ["/rootfs", "/host", "/host/root", "/hostfs"].into_iter().filter(|_| named);
        let behind = configured.chain(usual).filter_map(|prefix| point.below(prefix));
        let mut readings = behind.chain([point.clone()]);
        assert!(readings.any(|point| places.contains(&point.as_str())), "{found} is not mounted at {point:?}");
    }

    // With less to go by it is the same volume or none, with a word against it none.
    for label in labels.keys() {
        let mut fewer = labels.clone();
        fewer.remove(label);
        if let Ok(other) = ask(&fewer) {
            assert_eq!(other, found, "without {label:?}");
        }
    }
    for (label, value) in [(&names.lv_path, "/dev/vg-a/other"), (&names.mountpoint, "/other"), (&names.instance, "db2")]
    {
        let mut more = labels.clone();
        more.insert(label.clone(), value.to_owned());
        assert!(ask(&more).is_err(), "{label} {value} says otherwise");
    }
}
