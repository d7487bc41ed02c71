//! The scene of power cuts in which each group is full and each growth needs everything: a partition that has to grow
//! first, a PV on a whole disk, a spare, and LUKS between the volume and its file system.
//!
//! `make` fills empty disks once, of which copies are kept; `tests/vm/cuts.sh` makes the disks larger, and gives each
//! growth new copies.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

use crate::Target;
use crate::daemon::config;
use crate::storage::{EXTENT, Group, MIB, Volume, path, sh, try_sh};

/// Of a group: the disk with one partition, the one that is a PV as a whole, the spare.
const DISKS: [(&str, [&str; 3]); 2] =
    [("ext4", ["/dev/vdc", "/dev/vdd", "/dev/vde"]), ("xfs", ["/dev/vdf", "/dev/vdg", "/dev/vdh"])];
/// How many extents each of the three gives.
const GIVES: u64 = 3;
/// What cryptsetup keeps for itself at the beginning of a LUKS2.
const HEADER: u64 = 16 * MIB;
const SETTINGS: &str = "defaults: { cooldown: 0s }\nvolume_groups:\n";

fn key(own: &Group, kind: &str) -> PathBuf {
    own.dir.join(format!("{kind}.key"))
}

fn uuid_of(disk: &str) -> String {
    sh("blkid", &["-o", "value", "-s", "UUID", disk])
}

/// The groups as they are before their disks become larger.
pub(crate) fn make(own: &Group, groups: &[Group]) {
    for ((kind, [partitioned, whole, spare]), group) in DISKS.into_iter().zip(groups) {
        sh("sh", &["-c", &format!("echo ',,L' | sfdisk -q -X gpt {partitioned}")]);
        sh("udevadm", &["settle"]);
        sh("vgcreate", &["-qq", &group.name, &format!("{partitioned}1"), whole]);
        sh("pvcreate", &["-qq", spare]);
        let volume = group.lv_as("data", &["-l", "100%FREE"]);
        let key = key(own, kind);
        fs::write(&key, format!("the key of {kind:.<64}")).expect("a key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
        let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let format = ["luksFormat", "-q", "--type", "luks2", "--key-file", path(&key)];
        sh("cryptsetup", &[&format, &quick[..], &[&volume.path()]].concat());
        let target = open(own, kind, &volume);
        sh(&format!("mkfs.{kind}"), &["-q", &target.device]);
        sh("cryptsetup", &["close", &target.device]);
        sh("vgchange", &["-qq", "-an", &group.name]);
    }
    sh("umount", &[path(&own.dir)]);
    sh("sync", &[]);
}

fn open(own: &Group, kind: &'static str, volume: &Volume) -> Target {
    let mapping = format!("{}-data_crypt", volume.vg);
    sh("cryptsetup", &["open", "--key-file", path(&key(own, kind)), &volume.path(), &mapping]);
    Target { kind, volume: volume.clone(), device: format!("/dev/mapper/{mapping}") }
}

/// As after a boot: volumes active, mappings open, file systems mounted. And the config.
pub(crate) fn bring_up(own: &Group, groups: &[Group]) -> (Vec<Target>, String) {
    let up = |(kind, group): (&'static str, &Group)| {
        sh("vgchange", &["-qq", "-aay", &group.name]);
        let target = open(own, kind, &group.volume("data"));
        target.mount();
        target
    };
    let targets: Vec<Target> = thread::scope(|scope| {
        let up: Vec<_> =
            DISKS.iter().zip(groups).map(|((kind, _), group)| scope.spawn(move || up((*kind, group)))).collect();
        up.into_iter().map(|up| up.join().expect("no panic")).collect()
    });
    let mut settings = SETTINGS.to_owned();
    for ((_, [.., spare]), group) in DISKS.into_iter().zip(groups) {
        settings.push_str(&format!(
            "  - {{ name: {}, grown_disks: resize, partitions: growpart, spares: [{}] }}\n",
            group.name,
            uuid_of(spare)
        ));
    }
    sh("udevadm", &["settle"]);
    let mut text = config(own, &targets.iter().map(|target| &target.volume).collect::<Vec<_>>(), &settings);
    for Target { kind, volume, .. } in &targets {
        let line = format!("lv_path: {}\n", volume.path());
        text = text.replace(&line, &format!("{line}      luks_key_file: {}\n", path(&key(own, kind))));
    }
    (targets, text)
}

/// Asserts that partition, PVs and group have given all they had, each once, or nothing; and that the mapping fills its
/// volume. All of it is read from the disks, not from what the daemon says.
pub(crate) fn check(target: &Target, extents_before: u64, grew: bool) {
    let Target { kind, volume, device } = target;
    let (_, [partitioned, whole, spare]) = DISKS.into_iter().find(|(name, _)| name == kind).expect("one of them");
    let number = |text: &str| -> u64 { text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number")) };
    let size = |device: &str| number(&sh("blockdev", &["--getsize64", device]));
    let partition = format!("{partitioned}1");
    let missing = size(partitioned) - size(&partition);
    // A MiB in front, and the table's copy at the end.
    assert_eq!(missing < 3 * MIB, grew, "{partition} is {missing} bytes smaller than its disk");
    let fields = "pv_name,vg_name,pe_start,pv_pe_count,vg_extent_count,vg_free_count,pv_count";
    let bare = ["--noheadings", "--units", "b", "--nosuffix", "--separator", ",", "-o", fields];
    let disks = [partition.as_str(), whole, spare];
    let rows = sh("pvs", &[&bare[..], &disks].concat());
    assert_eq!(rows.lines().count(), disks.len(), "{rows}");
    let counts = if grew { [extents_before + 3 * GIVES, 3 * GIVES - crate::STEP, 3] } else { [extents_before, 0, 2] };
    for row in rows.lines() {
        let fields: Vec<&str> = row.split(',').map(str::trim).collect();
        let [disk, vg, first, count, group @ ..] = &fields[..] else { panic!("{row}") };
        if *disk == spare && !grew {
            assert_eq!(*vg, "", "{rows}");
            continue;
        }
        assert_eq!(*vg, volume.vg, "{rows}");
        assert_eq!(
            group.iter().map(|text| number(text)).collect::<Vec<_>>(),
            counts,
            "given what it needed, once: {rows}"
        );
        let end = number(first) + number(count) * EXTENT;
        let unused = size(disk).checked_sub(end).unwrap_or_else(|| panic!("{disk} is smaller than its PV: {row}"));
        assert_eq!(unused < EXTENT, *disk != whole || grew, "{disk} has {unused} bytes that its PV does not use");
    }
    assert_eq!(size(device), volume.extents() * EXTENT - HEADER, "the mapping fills its volume");
    assert!(try_sh("lvm", &["vgck", &volume.vg]).0, "{} is not sound", volume.vg);
    assert!(try_sh("sfdisk", &["--verify", "-q", partitioned]).0, "the table of {partitioned} is not sound");
}
