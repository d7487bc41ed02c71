//! More of what gives a full group room on real LVM: below LUKS, in partitions, under a thin pool; and disks that are
//! larger and still give nothing.

use std::fs;
use std::time::Instant;

use lvm_autoscaler::journal::Past;

use crate::daemon::{Daemon, config, labels};
use crate::luks::{LUKS2, encrypted as encrypt};
use crate::part;
use crate::refuse::refused_by;
use crate::storage::{Group, Volume, path, sh};
use crate::supply::{self, enlarge, partitioned, with};

/// A target waits because its group is full; when the disk has grown it grows, and nobody sends another alert.
fn waits_and_grows(kind: &str, in_partition: bool, encrypted: bool) {
    let name = format!("vmt_wait_{kind}{}{}", u8::from(in_partition), u8::from(encrypted));
    let group = if in_partition { supply::in_partition(&name).0 } else { Group::new(&name, &["1G"]) };
    let volume = group.lv_as("data", &["-l", "100%FREE"]);
    let (key, device) = match encrypted {
        true => encrypt(&group, &volume.path(), LUKS2),
        false => (group.dir.join("key"), volume.path()),
    };
    sh(&format!("mkfs.{kind}"), &["-q", &device]);
    fs::create_dir_all(&volume.mount_point).expect("a mount point");
    sh("mount", &[&device, path(&volume.mount_point)]);
    volume.write_data();
    volume.fill(88.0);
    let files = volume.files();
    let supply = if in_partition { "grown_disks: resize, partitions: growpart" } else { "grown_disks: resize" };
    let mut text = with(&group, &volume, supply);
    if encrypted {
        text.push_str(&format!("      luks_key_file: {}\n", path(&key)));
    }
    let daemon = Daemon::start(&group, &text);
    let (before, df) = (volume.extents(), volume.df_size());
    refused_by(&group, &daemon, &volume, "insufficient_space");
    assert!(daemon.metric("lvm_autoscaler_supply_needed_bytes", &[("vg", &name)]) > 0.0);
    let begun = Instant::now();
    enlarge(&group, 0, "2G");
    let past = daemon.wait_for_outcome(&volume, "grown");
    let took = begun.elapsed();
    part::say(&format!(
        "figures: {kind}{}{}: {:.1} s from the larger disk to the larger file system",
        if in_partition { ", GPT" } else { "" },
        if encrypted { ", LUKS2" } else { "" },
        took.as_secs_f64()
    ));
    assert!(past.sentence.contains("had become larger"), "{}", past.sentence);
    assert!(volume.extents() > before && volume.df_size() > df);
    assert_eq!(volume.files(), files, "every file is as it was");
    drop(daemon);
    volume.unmount_and_check_on(kind, &device);
    if encrypted {
        sh("cryptsetup", &["close", &device]);
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_waits_on_luks_or_in_a_partition_grows_without_another_alert() {
    waits_and_grows("ext4", true, true);
    waits_and_grows("xfs", false, true);
    waits_and_grows("xfs", true, false);
}

/// A full group on that PV, its disk larger than before: refused with that reason, and no byte of the disk is another.
fn gives_nothing(group: &Group, pv: &str, larger: &str, why: &str) {
    let volume = group.lv_as("data", &["-l", "100%FREE"]);
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    volume.fill(88.0);
    enlarge(group, 0, larger);
    let daemon = Daemon::start(group, &with(group, &volume, "grown_disks: resize, partitions: growpart"));
    sh("sync", &[]);
    // The table and LVM's labels and metadata; what a mounted file system writes behind them is not ours.
    let head = || {
        sh(
            "sh",
            &[
                "-c",
                &format!(
                    "head -c 2M {} | sha256sum; sfdisk -d {} 2>&1; pvs --noheadings -o pv_size {pv}",
                    group.loops[0], group.loops[0]
                ),
            ],
        )
    };
    let (before, extents) = (head(), volume.extents());
    let sentence = refused_by(group, &daemon, &volume, "supply_refused");
    assert!(sentence.contains(why), "{why}: {sentence}");
    assert_eq!(head(), before, "{why}");
    assert_eq!(volume.extents(), extents);
    drop(daemon);
    volume.unmount_and_check("ext4");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn disks_that_are_larger_and_still_give_nothing_are_not_touched() {
    // A second copy of the metadata, at the end.
    let group = Group::without_vg("vmt_twocopies", &["200M"]);
    sh("pvcreate", &["-qq", "--pvmetadatacopies", "2", &group.loops[0]]);
    sh("vgcreate", &["-qq", &group.name, &group.loops[0]]);
    gives_nothing(&group, &group.loops[0], "400M", "a second copy of its metadata");

    // A table on the disk that is a PV as a whole: somebody thinks otherwise of it.
    let group = Group::new("vmt_tabled", &["200M"]);
    sh("sh", &["-c", &format!("printf '2048,100M,83\\n' | sfdisk -q --force --wipe never -X dos {}", group.loops[0])]);
    gives_nothing(&group, &group.loops[0], "400M", "a partition table on it");

    // A logical partition, and a table that cannot say more than 2 TiB.
    let (group, stem) = partitioned("vmt_logical", "200M", "dos", ",,E\\n,,L\\n");
    let pv = stem + "5";
    sh("vgcreate", &["-qq", &group.name, &pv]);
    gives_nothing(&group, &pv, "400M", "is a logical one");
    let (group, stem) = partitioned("vmt_twotera", "200M", "dos", ",,L\\n");
    let pv = stem + "1";
    sh("vgcreate", &["-qq", &group.name, &pv]);
    gives_nothing(&group, &pv, "3T", "ends at 2 TiB");
}

/// Below the PV is encryption that has become larger, as after `cryptsetup resize` of a larger disk: whose room it is
/// only a person knows.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_pv_on_encryption_is_not_resized() {
    let group = Group::without_vg("vmt_cryptpv", &["200M"]);
    let (key, pv) = encrypt(&group, &group.loops[0], LUKS2);
    sh("vgcreate", &["-qq", &group.name, &pv]);
    let volume = group.lv_as("data", &["-l", "100%FREE"]);
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    volume.fill(88.0);
    enlarge(&group, 0, "400M");
    sh("cryptsetup", &["resize", "--key-file", path(&key), &pv]);
    let daemon = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize"));
    let size = || sh("pvs", &["--noheadings", "-o", "pv_size", &pv]);
    let before = size();
    let sentence = refused_by(&group, &daemon, &volume, "supply_refused");
    assert!(sentence.contains("encrypted (dm-crypt)"), "{sentence}");
    assert_eq!(size(), before);
    drop(daemon);
    volume.unmount_and_check("ext4");
    sh("vgchange", &["-qq", "-an", &group.name]);
    sh("cryptsetup", &["close", &pv]);
}

/// A thin volume whose pool is nearly full grows its pool first.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_thin_volume_in_a_full_pool_grows_the_pool_and_then_itself() {
    let group = Group::new("vmt_thinfirst", &["1G"]);
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-L", "128M", "-n", "pool", &group.name]);
    sh("lvcreate", &["-qq", "-y", "-V", "128M", "-n", "data", "--thinpool", "pool", &group.name]);
    let volume: Volume = group.volume("data");
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    volume.write_data();
    volume.fill(88.0);
    let files = volume.files();
    let pool = format!("    - {{ thin_pool: {}/pool, increment: 64MiB, cooldown: 0s }}\n", group.name);
    let more = "defaults: { cooldown: 0s, min_increment: 32MiB }\ninventory: { interval: 5s }";
    let daemon = Daemon::start(&group, &(config(&group, &[&volume], more) + &pool));
    let pool = group.volume("pool");
    let (before, pool_before, df) = (volume.extents(), pool.extents(), volume.df_size());
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    assert!(pool.extents() > pool_before, "the pool grew");
    assert!(volume.extents() > before && volume.df_size() > df, "and the volume");
    let grown = |past: &Past| (past.result.as_str() == "grown").then(|| past.lv.as_ref().map(ToString::to_string));
    let order: Vec<_> = daemon.journal().past.iter().filter_map(grown).flatten().collect();
    assert_eq!(order, [pool.name(), volume.name()]);
    assert_eq!(volume.files(), files);
    drop(daemon);
    volume.unmount_and_check("ext4");
}
