//! `lvm fullreport` with exactly the arguments the daemon uses, over every layout LVM makes: nothing in it may be odd
//! to our parser. The report is also written to `recorded/`, from where it becomes a fixture in tests/data.

use std::fs;

use jiff::Timestamp;
use lvm_autoscaler::inventory::lvm::{Columns, parse, report_arguments};
use lvm_autoscaler::inventory::{Inventory, Lv};

use crate::storage::{Group, path, sh};

/// Disks in several groups; the names are those that the fixtures show.
fn layouts() -> Vec<Group> {
    let linear = Group::new("rec_linear", &["512M", "512M"]);
    let lvcreate = |arguments: &[&str]| sh("lvcreate", &[&["-qq", "-y"], arguments].concat());
    lvcreate(&["-n", "plain", "-L", "64M", "rec_linear"]);
    lvcreate(&["-n", "segments", "-L", "40M", "rec_linear", &linear.loops[0]]);
    sh("lvextend", &["-qq", "-l", "+5", "rec_linear/segments", &linear.loops[1]]);
    lvcreate(&["-n", "striped", "-i", "2", "-L", "48M", "rec_linear"]);
    lvcreate(&["-n", "tagged", "-L", "8M", "--addtag", "a.b-c_d+e/f=g!h:i&j#k", "rec_linear"]);
    lvcreate(&["-n", "readonly", "-L", "8M", "rec_linear"]);
    sh("lvchange", &["-qq", "--permission", "r", "rec_linear/readonly"]);
    let hyphens = Group::new("rec-h--y", &["256M"]);
    lvcreate(&["-n", "lv-with--hyphens", "-L", "24M", "rec-h--y"]);
    let raid = Group::new("rec_raid", &["256M", "256M", "256M", "256M"]);
    for (name, arguments) in [
        ("mirror", ["--type", "mirror", "-m1"].as_slice()),
        ("raid1", &["--type", "raid1", "-m1"]),
        ("raid5", &["--type", "raid5", "-i2"]),
        ("raid10", &["--type", "raid10", "-m1", "-i2"]),
    ] {
        lvcreate(&[&["-n", name, "-L", "16M"], arguments, &["rec_raid"]].concat());
    }
    let thin = Group::new("rec_thin", &["1G"]);
    lvcreate(&["--type", "thin-pool", "-L", "200M", "-n", "pool", "rec_thin"]);
    lvcreate(&["-V", "1G", "--thinpool", "pool", "-n", "volume", "rec_thin"]);
    lvcreate(&["-s", "-n", "thin_snap", "rec_thin/volume"]);
    let snapshot = Group::new("rec_snapshot", &["512M", "512M"]);
    lvcreate(&["-n", "origin", "-L", "64M", "rec_snapshot"]);
    lvcreate(&["-s", "-n", "snap", "-L", "16M", "rec_snapshot/origin"]);
    lvcreate(&["-n", "cached", "-L", "64M", "rec_snapshot", &snapshot.loops[0]]);
    lvcreate(&["--type", "cache-pool", "-n", "fast", "-L", "32M", "rec_snapshot", &snapshot.loops[1]]);
    sh("lvconvert", &["-qq", "-y", "--type", "cache", "--cachepool", "fast", "rec_snapshot/cached"]);
    let missing = Group::new("rec_missing", &["256M", "256M"]);
    missing.no_autoactivation();
    lvcreate(&["-n", "here", "-L", "16M", "rec_missing", &missing.loops[0]]);
    lvcreate(&["-an", "-Zn", "-n", "gone", "-L", "16M", "rec_missing", &missing.loops[1]]);
    missing.lose_disk(1);
    let exported = Group::new("rec_exported", &["256M"]);
    exported.no_autoactivation();
    lvcreate(&["-an", "-Zn", "-n", "volume", "-L", "8M", "rec_exported"]);
    sh("vgexport", &["-qq", "rec_exported"]);
    let empty = Group::new("rec_empty", &["256M"]);
    let orphan = Group::without_vg("rec_orphan", &["256M"]);
    sh("pvcreate", &["-qq", &orphan.loops[0]]);
    vec![linear, hyphens, raid, thin, snapshot, missing, exported, empty, orphan]
}

fn recorded() -> (Vec<u8>, Inventory) {
    let arguments = report_arguments(None, Columns::All);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = sh("lvm", &arguments);
    let inventory = parse(report.as_bytes(), Timestamp::UNIX_EPOCH).expect("a report");
    (report.into_bytes(), inventory)
}

/// A group of two hundred volumes, restored from metadata that is written here: making them one by one takes minutes.
fn two_hundred() -> Group {
    let group = Group::new("rec_many", &["8G"]);
    group.no_autoactivation();
    sh("lvcreate", &["-qq", "-y", "-an", "-Zn", "-n", "lv000", "-l", "2", "rec_many"]);
    let file = group.dir.join("metadata.vg");
    sh("vgcfgbackup", &["-qq", "-f", path(&file), "rec_many"]);
    let text = fs::read_to_string(&file).expect("written");
    let begin = text.find("\t\tlv000 {").expect("the volume");
    let end = begin + text[begin..].find("\n\t\t}\n").expect("its end") + "\n\t\t}\n".len();
    let one = &text[begin..end];
    let uuid = one.split("id = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a UUID");
    let volumes: String = (0..200)
        .map(|number| {
            // A UUID is letters and digits in groups; the last three characters number it.
            let own = format!("{}{number:03}", &uuid[..uuid.len() - 3]);
            one.replace("lv000", &format!("lv{number:03}"))
                .replace(uuid, &own)
                .replace("\"pv0\", 0", &format!("\"pv0\", {}", number * 2))
        })
        .collect();
    fs::write(&file, [&text[..begin], &volumes, &text[end..]].concat()).expect("writable");
    sh("vgcfgrestore", &["-qq", "-f", path(&file), "rec_many"]);
    group
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn two_hundred_volumes_are_understood() {
    let _group = two_hundred();
    let (report, inventory) = recorded();
    write_down("fullreport-200-volumes", &report);
    assert_eq!(inventory.oddities, [""; 0]);
    assert_eq!(inventory.lvs.iter().filter(|lv| lv.segments.len() == 1 && lv.size.is_some()).count(), 200);
}

/// Into the folder shared with the host, from where a person takes it into tests/data.
fn write_down(name: &str, report: &[u8]) {
    let version = sh("sh", &["-c", "lvm version | sed -n 's/.*LVM version: *\\([0-9.]*\\).*/\\1/p'"]);
    let _ = fs::create_dir("recorded");
    fs::write(format!("recorded/{name}-{version}.json"), report).expect("the share is writable");
}

fn lv<'a>(inventory: &'a Inventory, name: &str) -> &'a Lv {
    inventory.lv(&name.parse().expect("a name")).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn every_layout_is_understood() {
    let _groups = layouts();
    let (report, inventory) = recorded();
    write_down("fullreport", &report);

    assert_eq!(inventory.oddities, [""; 0]);
    assert!(inventory.lvs.iter().all(|lv| !lv.segments.is_empty()), "every volume has segments");
    for (name, kind, layout) in [
        ("rec_linear/plain", "linear", "linear"),
        ("rec_linear/striped", "striped", "striped"),
        ("rec-h--y/lv-with--hyphens", "linear", "linear"),
        ("rec_raid/mirror", "mirror", "mirror"),
        ("rec_raid/raid1", "raid1", "raid"),
        ("rec_raid/raid5", "raid5", "raid"),
        ("rec_raid/raid10", "raid10", "raid"),
        ("rec_thin/pool", "thin-pool", "pool"),
        ("rec_thin/volume", "thin", "thin"),
        ("rec_snapshot/cached", "cache", "cache"),
    ] {
        let lv = lv(&inventory, name);
        assert!(lv.segments.iter().all(|segment| segment.kind.starts_with(kind)), "{name}: {:?}", lv.segments);
        assert!(lv.is_layout(layout), "{name}: {:?}", lv.layout);
        assert!(!lv.hidden && lv.active == Some(true) && lv.device.is_some(), "{lv:?}");
    }
    assert_eq!(lv(&inventory, "rec_linear/segments").segments.len(), 2);
    assert_eq!(lv(&inventory, "rec_linear/striped").segments[0].stripes, Some(2));
    assert_eq!(lv(&inventory, "rec_linear/readonly").read_only, Some(true));
    for hidden in ["rec_raid/raid1_rimage_0", "rec_raid/raid1_rmeta_1", "rec_thin/pool_tdata", "rec_thin/pool_tmeta"] {
        let lv = lv(&inventory, hidden);
        assert!(lv.hidden && lv.is_role("private"), "{lv:?}");
    }
    let origin = lv(&inventory, "rec_snapshot/origin");
    assert!(origin.is_role("thickorigin"), "{:?}", origin.role);
    let snapshots: Vec<String> = inventory.snapshots_of(origin).map(|lv| lv.name.to_string()).collect();
    assert_eq!(snapshots, ["rec_snapshot/snap"]);
    let thin_snapshot = lv(&inventory, "rec_thin/thin_snap");
    assert_eq!((thin_snapshot.origin.as_deref(), thin_snapshot.pool.as_deref()), (Some("volume"), Some("pool")));
    assert_eq!(inventory.snapshots_of(lv(&inventory, "rec_thin/volume")).count(), 0, "a thin snapshot holds nothing");
    assert!(lv(&inventory, "rec_thin/pool").data_percent.is_some());

    let vg = |name: &str| inventory.vg(&name.parse().expect("a name")).expect("a group");
    assert_eq!((vg("rec_missing").partial, vg("rec_missing").missing_pv_count), (Some(true), Some(1)));
    assert_eq!((vg("rec_exported").exported, vg("rec_linear").exported), (Some(true), Some(false)));
    assert_eq!(vg("rec_empty").lv_count, Some(0));
    assert_eq!(lv(&inventory, "rec_missing/gone").active, Some(false));
    assert!(inventory.pvs.iter().any(|pv| pv.vg.is_none() && pv.missing == Some(false)), "the orphan");
    assert_eq!(inventory.pvs.iter().filter(|pv| pv.missing == Some(true)).count(), 1);
}
