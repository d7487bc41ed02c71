//! Layouts, layers and pools of real LVM: what is grown is grown right, everything else is refused before it is
//! touched.

use std::fs;

use lvm_autoscaler::journal::Past;

use crate::daemon::{Daemon, config, labels};
use crate::grow::assert_grown_once;
use crate::storage::{Group, Volume, path, sh, try_sh};

/// A full ext4 on a volume made like this.
fn full(group: &Group, arguments: &[&str]) -> Volume {
    let volume = group.lv_as("data", arguments);
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    volume.fill(88.0);
    volume
}

/// Sends an alert and waits for the answer of the pipeline to it.
pub(crate) fn answer(daemon: &Daemon, volume: &Volume, labels: &[(&str, &str)]) -> Past {
    let before = daemon.results(volume).len();
    assert_eq!(daemon.alert(labels)["verdict"], "accepted");
    daemon.wait_for("an answer", |daemon| daemon.results(volume).into_iter().nth(before))
}

/// Refused with that code, and nothing on the host is changed; the sentence.
fn refused(group: &Group, daemon: &Daemon, volume: &Volume, code: &str) -> String {
    let before = group.fingerprint();
    let past = answer(daemon, volume, &labels(volume));
    assert_eq!(past.result.as_str(), code, "{}", past.sentence);
    assert_eq!(group.fingerprint(), before, "nothing was changed");
    past.sentence
}

pub(crate) fn grown(daemon: &Daemon, volume: &Volume) {
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let past = answer(daemon, volume, &labels(volume));
    assert_eq!(past.result.as_str(), "grown", "{}\n{}", past.sentence, daemon.log());
    assert_grown_once(volume, extents, df_size);
}

/// The PVs of each leg, in the order of the legs.
pub(crate) fn legs(volume: &Volume) -> Vec<String> {
    let name = format!("{}_rimage_", volume.lv);
    let rows = sh("lvs", &["-a", "--noheadings", "--separator", "|", "-o", "lv_name,devices", "--", &volume.vg]);
    let rows = rows.lines().filter(|row| row.contains(&name));
    let mut rows: Vec<(String, String)> = rows
        .filter_map(|row| row.trim().split_once('|'))
        .map(|(name, device)| (name.to_owned(), device.split('(').next().unwrap_or("").to_owned()))
        .collect();
    rows.sort();
    rows.dedup();
    rows.into_iter().map(|(_, device)| device).collect()
}

fn add_disk(group: &mut Group, size: &str) {
    let file = group.dir.join("more");
    sh("truncate", &["-s", size, path(&file)]);
    let disk = sh("losetup", &["-f", "--show", path(&file)]);
    sh("vgextend", &["-qq", &group.name, &disk]);
    group.loops.push(disk);
}

pub(crate) fn in_sync(volume: &Volume) {
    for _ in 0..200 {
        if volume.lvs("sync_percent") == "100.00" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{} does not come into sync", volume.name());
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn stripes_grow_over_all_of_their_disks_or_not_at_all() {
    let mut group = Group::new("vmt_stripes", &["256M", "256M", "1G"]);
    let (first, second) = (group.loops[0].clone(), group.loops[1].clone());
    sh("lvcreate", &["-qq", "-y", "-i", "2", "-l", "16", "-n", "data", &group.name, &first, &second]);
    let volume = group.volume("data");
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    volume.fill(88.0);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s, min_increment: 32MiB }"));
    grown(&daemon, &volume);
    // One extent is left on each of the two smaller disks: the largest one alone carries no stripes.
    for disk in [&first, &second] {
        let free = sh("pvs", &["--noheadings", "-o", "pv_pe_count,pv_pe_alloc_count", disk]);
        let counts: Vec<u64> = free.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        let rest = (counts[0] - counts[1] - 1).to_string();
        sh(
            "lvcreate",
            &["-qq", "-y", "-l", &rest, "-n", &format!("rest{}", disk.replace("/dev/", "")), &group.name, disk],
        );
    }
    volume.fill(88.0);
    let told = refused(&group, &daemon, &volume, "insufficient_space");
    assert!(told.contains("only 2 extents over 2 stripes can be allocated"), "{told}");
    // Another disk, and the next alert succeeds.
    add_disk(&mut group, "1G");
    grown(&daemon, &volume);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_legs_of_a_raid_stay_apart() {
    for (kind, disks, arguments) in [
        ("raid1", 3, vec!["--type", "raid1", "-m", "1", "-l", "16"]),
        ("raid5", 4, vec!["--type", "raid5", "-i", "2", "-l", "16"]),
        ("raid10", 4, vec!["--type", "raid10", "-i", "2", "-m", "1", "-l", "16"]),
    ] {
        let group = Group::new(&format!("vmt_{kind}"), &vec!["256M"; disks]);
        let volume = full(&group, &arguments);
        in_sync(&volume);
        let data = volume.write_data();
        let before = legs(&volume);
        let daemon =
            Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s, min_increment: 32MiB }"));
        grown(&daemon, &volume);
        assert_eq!(legs(&volume), before, "{kind}: each leg stays on its disk");
        data.assert_intact();
        // A leg whose disk is full: LVM could put its end on the disk of another leg.
        in_sync(&volume);
        let rest = sh("pvs", &["--noheadings", "-o", "pv_pe_count,pv_pe_alloc_count", &before[0]]);
        let counts: Vec<u64> = rest.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        sh(
            "lvcreate",
            &["-qq", "-y", "-l", &(counts[0] - counts[1]).to_string(), "-n", "rest", &group.name, &before[0]],
        );
        volume.fill(88.0);
        let told = refused(&group, &daemon, &volume, "insufficient_space");
        assert!(told.contains("no extents for"), "{told}");
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn contiguous_and_cling_are_kept() {
    for policy in ["contiguous", "cling"] {
        let group = Group::new(&format!("vmt_{policy}"), &["256M", "256M"]);
        let volume = full(&group, &["--alloc", policy, "-l", "16"]);
        let daemon =
            Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s, min_increment: 32MiB }"));
        grown(&daemon, &volume);
        // Something behind it; for cling the whole disk.
        let home = volume.lvs("devices").split('(').next().expect("a disk").to_owned();
        let size = if policy == "contiguous" { "1" } else { "100%PVS" };
        sh("lvcreate", &["-qq", "-y", "-l", size, "-n", "behind", &group.name, &home]);
        volume.fill(88.0);
        let told = refused(&group, &daemon, &volume, "insufficient_space");
        assert!(told.contains(&format!("(allocation policy {policy})")), "{told}");
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_thin_volume_grows_what_its_pool_can_carry() {
    let group = Group::new("vmt_thin", &["1G"]);
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-l", "64", "-n", "pool", &group.name]);
    let volume = full(&group, &["-V", "96M", "--thinpool", "pool"]);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s, min_increment: 32MiB }"));
    let free = sh("vgs", &["--noheadings", "-o", "vg_free_count", &group.name]);
    grown(&daemon, &volume);
    assert_eq!(sh("vgs", &["--noheadings", "-o", "vg_free_count", &group.name]), free, "only a promise");
    // Another volume is promised nearly all of the rest.
    sh("lvcreate", &["-qq", "-y", "-V", "120M", "--thinpool", "pool", "-n", "other", &group.name]);
    volume.fill(88.0);
    let told = refused(&group, &daemon, &volume, "pool_space");
    assert!(told.contains("raise max_overprovision"), "{told}");
}

pub(crate) fn pool_config(group: &Group, more: &str) -> String {
    format!(
        "state: {{ directory: {} }}\nmonitor:\n  targets:\n    - {{ thin_pool: {}/pool, increment: 32MiB, cooldown: 0s{more} }}\n",
        path(&group.dir.join("state")),
        group.name
    )
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_pool_whose_metadata_fill_first_grows_those_and_one_that_dmeventd_extends_is_left_to_it() {
    let group = Group::new("vmt_pool", &["1G"]);
    let arguments =
        ["-qq", "-y", "--type", "thin-pool", "-l", "32", "--poolmetadatasize", "4M", "-n", "pool", &group.name];
    sh("lvcreate", &arguments);
    sh("lvcreate", &["-qq", "-y", "-V", "1G", "--thinpool", "pool", "-n", "thin", &group.name]);
    let pool = group.volume("pool");
    let number = |field: &str| pool.lvs(field).parse::<f64>().expect("a number");
    // New metadata are a tenth full; the threshold is set below that instead of filling 4 MiB of them.
    assert!(number("metadata_percent") > 5.0, "{}", number("metadata_percent"));
    let daemon = Daemon::start(&group, &pool_config(&group, ", metadata_threshold_percent: 5"));
    let names = [("instance", "vm:19845"), ("vg", group.name.as_str()), ("lv", "pool")];
    let (extents, size) = (pool.extents(), number("lv_metadata_size"));
    let past = answer(&daemon, &pool, &names);
    assert_eq!(past.result.as_str(), "grown", "{}\n{}", past.sentence, daemon.log());
    assert_eq!(pool.extents(), extents, "the data are not full");
    assert!(number("lv_metadata_size") > size, "{}", past.sentence);
    let spare = sh(
        "lvs",
        &["-a", "--noheadings", "--units", "b", "--nosuffix", "-o", "lv_size", "-S", "lv_role=spare", &group.name],
    );
    assert_eq!(spare.trim().parse::<f64>().expect("a number"), number("lv_metadata_size"), "and their spare with them");
    assert!(daemon.stop().success());

    // The data: written through the thin volume. What is used is shown when the pool has committed it, once a second.
    // So much that after the growth it is below what dmeventd is told below, or that would extend it meanwhile.
    sh("dd", &["if=/dev/zero", "of=/dev/vmt_pool/thin", "bs=1M", "count=105", "oflag=direct", "status=none"]);
    let began = std::time::Instant::now();
    while number("data_percent") < 82.0 {
        assert!(began.elapsed() < crate::daemon::PATIENCE, "only {} % are used", number("data_percent"));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let daemon = Daemon::start(&group, &pool_config(&group, ", metadata_threshold_percent: 90"));
    let past = answer(&daemon, &pool, &names);
    assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
    assert_eq!(pool.extents(), extents + 8);

    // dmeventd is told to extend it.
    let conf = "/etc/lvm/lvmlocal.conf";
    let kept = fs::read_to_string(conf).unwrap_or_default();
    fs::write(conf, format!("{kept}\nactivation {{\n  thin_pool_autoextend_threshold = 70\n}}\n")).expect("ours");
    let monitored = try_sh("lvs", &["--noheadings", "-o", "seg_monitor", &pool.name()]).1;
    let before = group.fingerprint();
    let past = answer(&daemon, &pool, &names);
    fs::write(conf, kept).expect("ours");
    if monitored.trim() == "not monitored" {
        assert_eq!(past.result.as_str(), "below_threshold", "{}", past.sentence);
    } else {
        assert_eq!(past.result.as_str(), "lv_busy", "{} ({monitored:?})", past.sentence);
        assert!(past.sentence.contains("thin_pool_autoextend_threshold"), "{}", past.sentence);
    }
    assert_eq!(group.fingerprint(), before);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_lies_on_a_volume_is_named() {
    let group = Group::new("vmt_layers", &["1G"]);
    let volume = group.lv("data", "64M");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s }"));
    let table = format!("0 {} linear {} 0", 64 * 2048, volume.path());
    sh("dmsetup", &["create", "vmt_layers-part", "--table", &table]);
    let what = "vmt_layers-part (device-mapper)";
    sh("mkfs.ext4", &["-q", "/dev/mapper/vmt_layers-part"]);
    fs::create_dir_all(&volume.mount_point).expect("a mount point");
    sh("mount", &["/dev/mapper/vmt_layers-part", path(&volume.mount_point)]);
    let told = refused(&group, &daemon, &volume, "layered_device");
    assert!(told.starts_with(&format!("{what} lies on vmt_layers/data")), "{told}");
    sh("umount", &[path(&volume.mount_point)]);
    sh("dmsetup", &["remove", "vmt_layers-part"]);

    sh("mkswap", &[&volume.path()]);
    sh("swapon", &[&volume.path()]);
    let told = refused(&group, &daemon, &volume, "layered_device");
    sh("swapoff", &[&volume.path()]);
    assert!(told.contains("is swap space"), "{told}");

    // A virtual machine or a database.
    let held = fs::File::open(volume.path()).expect("it opens");
    let told = refused(&group, &daemon, &volume, "layered_device");
    assert!(told.contains("a virtual machine, a database or another mount namespace"), "{told}");
    drop(held);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_pvmove_under_way_is_waited_for() {
    let group = Group::new("vmt_pvmove", &["512M", "512M"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s, min_increment: 32MiB }"));
    // Copied in a moment, but nobody looks whether it is for a minute.
    sh("pvmove", &["-qq", "-b", "-i", "+60", &group.loops[0], &group.loops[1]]);
    let told = refused(&group, &daemon, &volume, "lv_busy");
    assert!(told.contains("a pvmove is under way"), "{told}");
    sh("pvmove", &["-qq", "--abort"]);
    grown(&daemon, &volume);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_group_that_is_too_small_is_refused_until_a_disk_is_added() {
    let mut group = Group::new("vmt_vgextend", &["128M"]);
    let volume = group.filesystem("ext4", "data", "100M");
    volume.fill(88.0);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { min_increment: 32MiB }"));
    for _ in 0..3 {
        let told = refused(&group, &daemon, &volume, "insufficient_space");
        assert!(told.contains("add a PV with vgextend"), "{told}");
    }
    add_disk(&mut group, "256M");
    grown(&daemon, &volume);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_group_of_another_host_is_refused() {
    let group = Group::new("vmt_foreign", &["512M"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    // A group in use keeps its owner.
    sh("umount", &[path(&volume.mount_point)]);
    sh("vgchange", &["-qq", "-an", &group.name]);
    sh("vgchange", &["-qq", "-y", "--systemid", "db2", &group.name]);
    let past = answer(&daemon, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "vg_foreign", "{}", past.sentence);
    // Only its owner may give it back.
    try_sh("vgchange", &["-qq", "-y", "--config", "local/extra_system_ids=[\"db2\"]", "--systemid", "", &group.name]);
}
