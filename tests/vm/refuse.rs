//! What must not grow: an alert comes, the answer is 202, and nothing on the host changes. Why not is in the metrics
//! and in the journal.

use std::fs;

use crate::daemon::{Daemon, config, labels, script};
use crate::grow::small;
use crate::storage::{Group, Volume, path, sh};

/// Sends an alert for the volume to a new daemon and asserts that it is refused with that code and nothing is changed;
/// the sentence.
pub(crate) fn refused(group: &Group, volume: &Volume, code: &str) -> String {
    refused_by(group, &Daemon::start(group, &config(group, &[volume], "")), volume, code)
}

pub(crate) fn refused_by(group: &Group, daemon: &Daemon, volume: &Volume, code: &str) -> String {
    let before = group.fingerprint();
    let verdict = daemon.alert(&labels(volume));
    assert_eq!(verdict["verdict"], "accepted", "the door lets it in: {verdict}");
    let past = daemon.wait_for("a refusal", |daemon| daemon.results(volume).pop());
    assert_eq!(past.result.as_str(), code, "{}", past.sentence);
    let of = [("vg", volume.vg.as_str()), ("lv", volume.lv.as_str()), ("code", code)];
    assert_eq!(daemon.metric("lvm_autoscaler_refusals_total", &of), 1.0);
    assert_eq!(daemon.metric("lvm_autoscaler_operations_total", &[]), 0.0);
    assert_eq!(group.fingerprint(), before, "nothing was changed");
    assert!(!daemon.log().contains("lvextend"), "{}", daemon.log());
    past.sentence
}

/// A group with a full ext4 on it.
fn full_ext4(group: &Group) -> Volume {
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    volume
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_the_labels_name_badly_is_refused_at_the_door() {
    let group = Group::new("vmt_door", &["2G"]);
    let volume = full_ext4(&group);
    let other = group.filesystem("ext4", "other", "64M");
    other.fill(88.0);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let before = group.fingerprint();
    let elsewhere = path(&other.mount_point).to_owned();
    let changed = |label: &'static str, value: &str| {
        let mut labels: Vec<(&str, String)> = labels(&volume).iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        labels.retain(|(name, _)| *name != label);
        if !value.is_empty() {
            labels.push((label, value.to_owned()));
        }
        labels
    };
    let owned = |labels: &[(&'static str, &str)]| labels.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    let cases = [
        ("other_host", changed("instance", "db2.example.com:9100")),
        ("other_host", changed("instance", "localhost:19845")),
        ("other_host", changed("instance", "")),
        ("unknown_target", changed("lv", "nonesuch").into_iter().filter(|(name, _)| *name != "mountpoint").collect()),
        ("unknown_target", owned(&[("instance", "vm"), ("vg", "vmt_door"), ("lv", "other")])),
        ("unknown_target", owned(&[("instance", "vm")])),
        ("ambiguous_alert", changed("lv", "other")),
        ("ambiguous_alert", changed("mountpoint", &elsewhere)),
        ("ambiguous_alert", changed("device", "/dev/mapper/vmt_door-other")),
        ("unknown_target", changed("device", "/dev/vda")),
    ];
    for (code, labels) in &cases {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let verdict = daemon.alert(&labels);
        assert_eq!((&verdict["verdict"], &verdict["code"]), (&"refused".into(), &(*code).into()), "{labels:?}");
    }
    for code in ["other_host", "unknown_target", "ambiguous_alert"] {
        let expected = cases.iter().filter(|case| case.0 == code).count();
        assert_eq!(daemon.metric("lvm_autoscaler_refusals_total", &[("code", code)]), expected as f64);
        assert_eq!(daemon.journal().refused.iter().filter(|past| past.result.as_str() == code).count(), expected);
    }
    // What is not even a payload is the sender's fault, and that is all.
    assert_eq!(daemon.post("{}").status, 400);
    assert_eq!(daemon.metric("lvm_autoscaler_operations_total", &[]), 0.0);
    assert_eq!(group.fingerprint(), before);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn below_the_threshold() {
    let group = Group::new("vmt_below", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(79.0);
    let sentence = refused(&group, &volume, "below_threshold");
    assert!(sentence.contains("79"), "{sentence}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_snapshot_origin() {
    let group = Group::new("vmt_origin", &["2G"]);
    let volume = full_ext4(&group);
    sh("lvcreate", &["-qq", "-s", "-L", "16M", "-n", "snap", &volume.name()]);
    let sentence = refused(&group, &volume, "snapshot_origin");
    assert!(sentence.contains("vmt_origin/snap"), "{sentence}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_read_only_mount() {
    let group = Group::new("vmt_ro_mount", &["2G"]);
    let volume = full_ext4(&group);
    sh("mount", &["-o", "remount,ro", path(&volume.mount_point)]);
    refused(&group, &volume, "fs_read_only");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_read_only_volume() {
    let group = Group::new("vmt_ro_lv", &["2G"]);
    let volume = full_ext4(&group);
    sh("umount", &[path(&volume.mount_point)]);
    sh("lvchange", &["-qq", "--permission", "r", &volume.name()]);
    group.mount(&volume, &["-o", "ro"]);
    let sentence = refused(&group, &volume, "lv_read_only");
    assert!(sentence.contains("lvchange --permission rw"), "{sentence}");
}

/// The kernel goes on showing the old name, and `xfs_growfs` would take the size of what has it now: less than there
/// is.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_that_was_renamed_while_it_was_mounted() {
    let group = Group::new("vmt_renamed", &["2G"]);
    for kind in ["ext4", "xfs"] {
        let old = group.filesystem(kind, &format!("{kind}_old"), small(kind));
        old.fill(88.0);
        sh("lvrename", &["-qq", &group.name, &old.lv, kind]);
        let renamed = Volume { lv: kind.to_owned(), ..old.clone() };
        let sentence = refused(&group, &renamed, "device_mismatch");
        assert!(sentence.contains(&format!("/dev/mapper/vmt_renamed-{kind}_old")), "{sentence}");
        group.forget();
        group.lv(&old.lv, if kind == "xfs" { "316M" } else { "60M" });
        refused(&group, &renamed, "device_mismatch");
        group.forget();
    }
}

/// Of two mounts at one place `xfs_growfs` takes the size of the lower one's device.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_that_is_mounted_over_another() {
    let group = Group::new("vmt_stacked", &["2G"]);
    let lower = group.filesystem("xfs", "lower", "316M");
    let upper = Volume { mount_point: lower.mount_point.clone(), ..group.lv("upper", "320M") };
    upper.mkfs("xfs");
    group.mount(&upper, &[]);
    upper.fill(88.0);
    refused(&group, &upper, "device_mismatch");
}

/// Growing the volume would not help who is limited by a quota.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_file_system_that_shows_a_project_quota() {
    let group = Group::new("vmt_quota", &["2G"]);
    for (kind, features) in [("ext4", &["-O", "quota,project", "-E", "quotatype=prjquota"][..]), ("xfs", &[])] {
        let volume = group.lv(kind, "320M");
        sh(&format!("mkfs.{kind}"), &[&["-q"], features, &[&volume.path()]].concat());
        group.mount(&volume, &["-o", "prjquota"]);
        let point = path(&volume.mount_point);
        sh(
            "xfs_quota",
            &["-x", "-f", "-c", &format!("project -s -p {point} 42"), "-c", "limit -p bhard=100m 42", point],
        );
        volume.fill(88.0);
        let sentence = refused(&group, &volume, "fs_unsupported");
        assert!(sentence.contains("shows 100 MiB"), "{sentence}");
        group.forget();
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_read_only_group() {
    let group = Group::new("vmt_ro_vg", &["2G"]);
    let volume = full_ext4(&group);
    // No command makes a group read-only; its metadata can say so.
    let backup = group.dir.join("backup");
    sh("vgcfgbackup", &["-qq", "-f", path(&backup), &group.name]);
    let text = fs::read_to_string(&backup).expect("text");
    let read_only =
        text.replacen("status = [\"RESIZEABLE\", \"READ\", \"WRITE\"]", "status = [\"RESIZEABLE\", \"READ\"]", 1);
    assert_ne!(text, read_only);
    fs::write(&backup, read_only).expect("a file");
    sh("vgcfgrestore", &["-qq", "--yes", "-f", path(&backup), &group.name]);
    refused(&group, &volume, "vg_read_only");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_group_without_space_and_limits_of_the_config() {
    let group = Group::new("vmt_space", &["128M"]);
    let volume = full_ext4(&group);
    group.lv("rest", "40M");
    let sentence = refused(&group, &volume, "insufficient_space");
    assert!(sentence.contains("20 MiB") || sentence.contains("5 extents"), "{sentence}");
    let reserve = "volume_groups: [{ name: vmt_space, reserve: 50% }]";
    sh("lvremove", &["-qq", "-y", "vmt_space/rest"]);
    group.forget();
    refused_by(&group, &Daemon::start(&group, &config(&group, &[&volume], reserve)), &volume, "vg_reserve");
    group.forget();
    let limited = "defaults: { max_size: 72MiB }";
    refused_by(&group, &Daemon::start(&group, &config(&group, &[&volume], limited)), &volume, "at_max_size");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_group_with_a_missing_disk() {
    let group = Group::new("vmt_partial", &["1G", "512M"]);
    let volume = full_ext4(&group);
    assert!(volume.lvs("devices").starts_with(&group.loops[0]), "the volume is on the disk that stays");
    group.lose_disk(1);
    let sentence = refused(&group, &volume, "vg_partial");
    assert!(sentence.contains("lacks 1 of its PVs"), "{sentence}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_exported_group() {
    let group = Group::new("vmt_exported", &["1G"]);
    group.no_autoactivation();
    let volume = full_ext4(&group);
    sh("umount", &[path(&volume.mount_point)]);
    sh("vgchange", &["-qq", "-an", &group.name]);
    sh("vgexport", &["-qq", &group.name]);
    refused(&group, &volume, "vg_exported");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_inactive_volume_and_one_that_is_not_mounted() {
    let group = Group::new("vmt_inactive", &["1G"]);
    group.no_autoactivation();
    let volume = full_ext4(&group);
    sh("umount", &[path(&volume.mount_point)]);
    refused(&group, &volume, "not_mounted");
    group.forget();
    sh("vgchange", &["-qq", "-an", &group.name]);
    refused(&group, &volume, "lv_inactive");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_mounted_elsewhere_and_another_in_its_place() {
    let group = Group::new("vmt_swapped", &["1G"]);
    let volume = full_ext4(&group);
    let mut other = full_other(&group);
    // The config says /…/place, where first nothing and then the wrong volume is mounted.
    let mut wanted = volume.clone();
    wanted.mount_point = group.dir.join("place");
    refused(&group, &wanted, "not_mounted");
    group.forget();
    other.mount_point = wanted.mount_point.clone();
    group.mount(&other, &[]);
    let sentence = refused(&group, &wanted, "device_mismatch");
    assert!(sentence.contains("vmt_swapped-other"), "{sentence}");
}

fn full_other(group: &Group) -> Volume {
    let other = group.lv("other", "64M");
    other.mkfs("ext4");
    other
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_mount_hidden_by_another() {
    let group = Group::new("vmt_hidden", &["1G"]);
    let volume = full_ext4(&group);
    let mut other = full_other(&group);
    // On top of it at the same place.
    other.mount_point = volume.mount_point.clone();
    group.mount(&other, &[]);
    other.fill(90.0);
    refused(&group, &volume, "device_mismatch");
    sh("umount", &[path(&volume.mount_point)]);
    group.forget();
    // And further up: mountinfo still has the target's mount as the last one at its path, which leads elsewhere.
    let inner = group.dir.join("tree/inner");
    let mut deep = volume.clone();
    deep.mount_point = inner;
    sh("umount", &[path(&volume.mount_point)]);
    group.mount(&deep, &[]);
    sh("mount", &["-t", "tmpfs", "none", path(&group.dir.join("tree"))]);
    fs::create_dir(&deep.mount_point).expect("the path is there again, on the tmpfs");
    let sentence = refused(&group, &deep, "device_mismatch");
    assert!(sentence.contains("another mount hides it"), "{sentence}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_cached_volume() {
    let group = Group::new("vmt_cached", &["1G", "1G"]);
    let volume = full_ext4(&group);
    sh("lvcreate", &["-qq", "-y", "--type", "cache", "-L", "32M", "-n", "fast", &volume.name()]);
    let sentence = refused(&group, &volume, "layered_device");
    assert!(sentence.contains("vmt_cached/data is cached (cache), which this tool does not extend"), "{sentence}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_file_system_that_cannot_be_grown_and_one_that_blkid_knows_otherwise() {
    let group = Group::new("vmt_fs", &["1G"]);
    let volume = group.lv("odd", "64M");
    sh("mkfs.minix", &["-3", &volume.path()]);
    group.mount(&volume, &["-t", "minix"]);
    let sentence = refused(&group, &volume, "fs_unsupported");
    assert!(
        sentence.contains("minix at") && sentence.contains("only btrfs, ext2, ext3, ext4 and xfs can"),
        "{sentence}"
    );
    group.forget();
    let volume = group.filesystem("ext4", "ext4", "64M");
    volume.fill(88.0);
    let says_xfs = script(&group.dir, "blkid", "echo xfs\n");
    let with =
        |blkid: &str| Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ blkid: {blkid} }}")));
    let sentence = refused_by(&group, &with(&says_xfs), &volume, "fs_unsupported");
    assert!(sentence.contains("blkid finds \"xfs\""), "{sentence}");
    group.forget();
    // What blkid does when it finds several kinds at once.
    let ambivalent = script(&group.dir, "blkid", "exit 8\n");
    refused_by(&group, &with(&ambivalent), &volume, "fs_unsupported");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_file_system_with_errors() {
    let group = Group::new("vmt_errors", &["1G"]);
    let volume = full_ext4(&group);
    let dm = fs::canonicalize(volume.path()).expect("a device");
    let name = dm.file_name().expect("a name").to_string_lossy().into_owned();
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").expect("the kernel counts an error");
    let sentence = refused(&group, &volume, "fs_errors");
    assert!(sentence.contains("counted 1 error on"), "{sentence}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_suspended_volume() {
    let group = Group::new("vmt_suspended", &["1G"]);
    let volume = full_ext4(&group);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "inventory: { interval: 1h, timeout: 3s }"));
    sh("dmsetup", &["suspend", "--nolockfs", "vmt_suspended-data"]);
    // The fingerprint would hang with it.
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for("a refusal", |daemon| daemon.results(&volume).pop());
    sh("dmsetup", &["resume", "vmt_suspended-data"]);
    assert_eq!(past.result.as_str(), "lv_suspended", "{}", past.sentence);
    assert_eq!(volume.extents(), 16);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_tool_that_is_missing() {
    let group = Group::new("vmt_tool", &["2G"]);
    for (kind, tool) in [("ext4", "resize2fs"), ("xfs", "xfs_growfs")] {
        let volume = group.filesystem(kind, kind, small(kind));
        volume.fill(88.0);
        let config = config(&group, &[&volume], &format!("tools: {{ {tool}: /nonexistent/{tool} }}"));
        let daemon = Daemon::start(&group, &config);
        assert!(daemon.log().contains("not installed"), "said once at start: {}", daemon.log());
        let sentence = refused_by(&group, &daemon, &volume, "fs_unsupported");
        assert!(sentence.contains(&format!("set tools.{tool}")), "{sentence}");
    }
}
