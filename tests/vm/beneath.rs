//! What lies below a volume, or on it, and cannot bear its growth: LVM warns at the most and extends it, and then the
//! kernel refuses, or waits for ever, or the file system is lost at the next mount. And the layouts that plain LVM
//! grows safely.
//!
//! Each refusal must leave the host as it was: LVM's metadata, the kernel's tables, every file, a file system without a
//! fault that is mounted again.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::daemon::{Daemon, config, labels, program};
use crate::decisions::{answer, grown, in_sync, legs, pool_config};
use crate::grow::small;
use crate::luks;
use crate::refuse::{refused, refused_by};
use crate::storage::{Group, LocalConf, MIB, Volume, path, sh, try_sh};
use crate::supply::{enlarge, partitioned};

const SOON: &str = "defaults: { cooldown: 0s, min_increment: 32MiB }";

/// A file system made like this, mounted, with data on it and more than its threshold in use.
fn full_as(group: &Group, volume: Volume, mkfs: &[&str], options: &[&str]) -> Volume {
    sh(mkfs[0], &[&mkfs[1..], &[&volume.path()]].concat());
    group.mount(&volume, options);
    volume.write_data();
    volume.fill(88.0);
    volume
}

/// A volume that takes what is free on a disk.
fn on_disk(group: &Group, name: &str, disk: usize) -> Volume {
    sh("lvcreate", &["-qq", "-y", "-Wn", "-l", "100%PVS", "-n", name, &group.name, &group.loops[disk]]);
    group.volume(name)
}

/// Refused with that code; then nothing has changed, all files are there, the checker finds nothing, and it mounts
/// again.
fn refused_unharmed(group: &Group, volume: &Volume, kind: &str, code: &str) -> String {
    let files = volume.files();
    let sentence = refused(group, volume, code);
    remains(group, volume, kind, &files);
    sentence
}

fn remains(group: &Group, volume: &Volume, kind: &str, files: &str) {
    let kernel = sh("dmsetup", &["info", "-c", "--noheadings", "-o", "suspended", &volume.path()]);
    assert_eq!(kernel.trim(), "Active", "{} is suspended", volume.name());
    volume.unmount_and_check(kind);
    group.mount(volume, &[]);
    assert_eq!(volume.files(), files, "every file is as it was");
}

/// Exit code and all that was printed.
fn by_hand(group: &Group, arguments: &[&str]) -> (Option<i32>, String) {
    let file = format!("--config.file={}", path(&group.dir.join("config.yaml")));
    let output = Command::new(program()).args(arguments).arg(file).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// A disk of the group, by the name that people know.
fn names_disk(sentence: &str, disk: &str) {
    assert!(sentence.contains(disk), "it does not name {disk}: {sentence}");
}

// Logical block sizes

/// M1, M2: a larger logical block would be the whole volume's.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn space_with_larger_sectors_than_the_file_system_bears_does_not_count() {
    let cases: [(&str, &str, &str, &[&str]); 3] = [
        ("xfs", "332M", "512", &["mkfs.xfs", "-q"]),
        ("ext4", "72M", "1 KiB", &["mke2fs", "-q", "-t", "ext4", "-b", "1024"]),
        ("ext4", "76M", "2 KiB", &["mke2fs", "-q", "-t", "ext4", "-b", "2048"]),
    ];
    for (kind, size, bears, mkfs) in cases {
        let mut group = Group::new(&format!("vmt_sectors_{}", bears.replace(' ', "_")), &[size]);
        let coarse = group.add_coarse_disk("1G");
        let volume = full_as(&group, on_disk(&group, "data", 0), mkfs, &[]);
        let sentence = refused_unharmed(&group, &volume, kind, "block_size");
        names_disk(&sentence, &coarse);
        assert!(sentence.contains("4 KiB") && sentence.contains(bears), "{sentence}");
        assert_eq!(sh("blockdev", &["--getss", &volume.path()]), "512");
    }
}

/// M3: LVM by itself would take the disk with most free space.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_growth_lands_on_the_disks_that_fit_and_on_no_other() {
    let mut group = Group::new("vmt_fitting", &["72M", "80M"]);
    let coarse = group.add_coarse_disk("1G");
    let volume = full_as(&group, on_disk(&group, "data", 0), &["mke2fs", "-q", "-t", "ext4", "-b", "1024"], &[]);
    let files = volume.files();
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
    let lies_on = |disk: &str| {
        let devices = sh("lvs", &["--noheadings", "--segments", "-o", "devices", &volume.name()]);
        devices.contains(&format!("{disk}("))
    };
    assert!(lies_on(&group.loops[1]) && !lies_on(&coarse));
    assert_eq!(sh("blockdev", &["--getss", &volume.path()]), "512");
    // 44 MiB are left there, which is one growth more; then there is only the other disk.
    volume.fill(88.0);
    grown(&daemon, &volume);
    volume.fill(88.0);
    let before = group.fingerprint();
    let past = answer(&daemon, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "block_size", "{}", past.sentence);
    assert_eq!(group.fingerprint(), before);
    assert!(!lies_on(&coarse));
    remains(&group, &volume, "ext4", &files);
}

/// M4: a file system with blocks as large as those sectors does not mind.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_file_system_with_large_blocks_grows_onto_large_sectors() {
    let cases: [(&str, &str, &[&str]); 2] = [
        ("ext4", "72M", &["mke2fs", "-q", "-t", "ext4", "-b", "4096"]),
        ("xfs", "312M", &["mkfs.xfs", "-q", "-s", "size=4096"]),
    ];
    for (kind, size, mkfs) in cases {
        let mut group = Group::new(&format!("vmt_bears_{kind}"), &[size]);
        let coarse = group.add_coarse_disk("1G");
        let volume = full_as(&group, on_disk(&group, "data", 0), mkfs, &[]);
        let files = volume.files();
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        grown(&daemon, &volume);
        assert!(sh("lvs", &["--noheadings", "--segments", "-o", "devices", &volume.name()]).contains(&coarse));
        assert_eq!(sh("blockdev", &["--getss", &volume.path()]), "4096");
        remains(&group, &volume, kind, &files);
    }
}

/// What a pool gets, all of its volumes get.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_pool_takes_only_sectors_that_all_of_its_file_systems_bear() {
    let mut group = Group::new("vmt_pool_sectors", &["600M"]);
    let first = group.loops[0].clone();
    let pool = ["-qq", "-y", "--type", "thin-pool", "-l", "120", "--poolmetadatasize", "4M", "-n", "pool", &group.name];
    sh("lvcreate", &[&pool[..], &[&first]].concat());
    let coarse = group.add_coarse_disk("1G");
    group.fill_disk(&first);
    let xfs = group.lv_as("xfs", &["-V", "500M", "--thinpool", "pool"]);
    xfs.mkfs("xfs");
    group.mount(&xfs, &[]);
    xfs.write_data();
    sh(
        "dd",
        &[
            "if=/dev/zero",
            &format!("of={}/fill", path(&xfs.mount_point)),
            "bs=1M",
            "count=392",
            "oflag=direct",
            "status=none",
        ],
    );
    let volume = group.volume("pool");
    let daemon = Daemon::start(&group, &pool_config(&group, ""));
    let (files, before) = (xfs.files(), group.fingerprint());
    let past = answer(&daemon, &volume, &[("instance", "vm:19845"), ("vg", &group.name), ("lv", "pool")]);
    assert_eq!(past.result.as_str(), "block_size", "{}", past.sentence);
    names_disk(&past.sentence, &coarse);
    assert_eq!(group.fingerprint(), before);
    remains(&group, &xfs, "xfs", &files);
}

// Disks that are not as their PVs are

/// D1: LVM commits, the kernel refuses the table, and the volume stays suspended.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_is_smaller_than_its_pv_lets_nothing_in_its_group_grow() {
    let group = Group::new("vmt_shrunk", &["512M", "1G"]);
    let volume = on_disk(&group, "rest", 0);
    sh("lvreduce", &["-qq", "-y", "-f", "-l", "16", &volume.name()]);
    let volume = full_as(&group, volume, &["mkfs.ext4", "-q"], &[]);
    let (disk, file) = (group.loops[0].clone(), group.dir.join("disk0"));
    let resize = |size: &str| {
        sh("truncate", &["-s", size, path(&file)]);
        sh("losetup", &["-c", &disk]);
    };
    resize("256M");
    // Although the other disk has room enough.
    let sentence = refused_unharmed(&group, &volume, "ext4", "disk_shrunk");
    names_disk(&sentence, &disk);
    assert!(sentence.contains("256 MiB"), "{sentence}");
    assert_eq!(volume.extents(), 16);
    // By one sector already.
    group.forget();
    sh("truncate", &["-s", "508M", path(&file)]);
    sh("truncate", &["-s", "-512", path(&file)]);
    sh("losetup", &["-c", &disk]);
    refused(&group, &volume, "disk_shrunk");
    // The sentence says what helps.
    group.forget();
    resize("512M");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
}

/// A partition, and encryption on it, keep their size when the disk below them becomes smaller: LVM and the kernel take
/// the table, and the file system gets errors behind the end of the disk.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_partition_that_ends_behind_its_disk_lets_nothing_in_its_group_grow() {
    for encrypted in [false, true] {
        let name = if encrypted { "vmt_cutcrypt" } else { "vmt_cutpart" };
        let (group, stem) = partitioned(name, "512M", "dos", ",,L\\n");
        let mut pv = stem + "1";
        if encrypted {
            pv = luks::encrypted(&group, &pv, luks::LUKS2).1;
        }
        sh("vgcreate", &["-qq", name, &pv]);
        let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
        enlarge(&group, 0, "256M");
        let sentence = refused_unharmed(&group, &volume, "ext4", "disk_shrunk");
        names_disk(&sentence, &pv);
        assert_eq!(volume.extents(), 16);
        group.forget();
        enlarge(&group, 0, "512M");
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        grown(&daemon, &volume);
        drop(daemon);
        if encrypted {
            sh("umount", &[path(&volume.mount_point)]);
            sh("vgchange", &["-qq", "-an", name]);
            sh("cryptsetup", &["close", &pv]);
        }
    }
}

/// Of a disk with several paths the shortest counts, because an I/O may take any; a path that shows no size at all is
/// one that does not answer now, and takes none. The machine's kernel has no multipath; a mapping with its kind of UUID
/// over two disks, of which the second holds only the end, looks the same to who asks sysfs.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_path_to_a_disk_that_is_shorter_than_the_others() {
    let group = Group::without_vg("vmt_paths", &["600M", "600M"]);
    let _hidden = LocalConf::with("devices { filter = [ \"r|^/dev/loop|\" ] multipath_component_detection = 0 }");
    let table = format!("0 1046528 linear {} 0\n1046528 2048 linear {} 0", group.loops[0], group.loops[1]);
    sh("dmsetup", &["create", "vmt_paths-disk", "--uuid", "mpath-vmt", "--table", &table]);
    sh("vgcreate", &["-qq", "vmt_paths", "/dev/mapper/vmt_paths-disk"]);
    let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    let second = |size: &str| {
        sh("truncate", &["-s", size, path(&group.dir.join("disk1"))]);
        sh("losetup", &["-c", &group.loops[1]]);
    };
    second("256M");
    let sentence = refused_unharmed(&group, &volume, "ext4", "disk_shrunk");
    assert!(sentence.contains("256 MiB"), "{sentence}");
    group.forget();
    second("0");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
    volume.unmount_and_check("ext4");
}

/// P1: one disk through two paths. LVM uses one of them and refuses every change.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_seen_twice_is_named_with_both_of_its_names() {
    let other = Group::new("vmt_once", &["512M"]);
    let alone = full_as(&other, other.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    let mut group = Group::new("vmt_twofold", &["512M"]);
    let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    let twin = sh("losetup", &["-f", "--show", path(&group.dir.join("disk0"))]);
    group.loops.push(twin.clone());
    sh("udevadm", &["settle"]);
    let daemon = Daemon::start(&group, &config(&group, &[&volume, &alone], SOON));
    let files = volume.files();
    let sentence = refused_by(&group, &daemon, &volume, "duplicate_pv");
    names_disk(&sentence, &twin);
    names_disk(&sentence, &group.loops[0]);
    assert_eq!(daemon.metric("lvm_pv_duplicate", &[]), 1.0, "the exporter shows it");
    // It is nothing to other groups.
    grown(&daemon, &alone);
    sh("losetup", &["-d", &twin]);
    sh("udevadm", &["settle"]);
    remains(&group, &volume, "ext4", &files);
    grown(&daemon, &volume);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_takes_no_writes() {
    let group = Group::new("vmt_setro", &["512M", "512M"]);
    let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    for disk in &group.loops {
        sh("blockdev", &["--setro", disk]);
        let sentence = refused(&group, &volume, "pv_unusable");
        sh("blockdev", &["--setrw", disk]);
        names_disk(&sentence, disk);
        group.forget();
    }
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
    volume.unmount_and_check("ext4");
}

/// Runs a program when it is dropped, after a panic too: what follows would otherwise wait for ever.
struct Afterwards(&'static str, Vec<String>);

impl Drop for Afterwards {
    fn drop(&mut self) {
        let arguments: Vec<&str> = self.1.iter().map(String::as_str).collect();
        try_sh(self.0, &arguments);
    }
}

/// LVM waits for it, so the report comes late or not at all; no growth is begun in any case.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_is_suspended() {
    let group = Group::without_vg("vmt_asleep", &["512M"]);
    // The disk and what is mapped over it are one PV: LVM is told which of them to see.
    let _hidden = LocalConf::with(&format!("devices {{ filter = [ \"r|^{}$|\" ] }}", group.loops[0]));
    let sectors = sh("blockdev", &["--getsz", &group.loops[0]]);
    let table = format!("0 {sectors} linear {} 0", group.loops[0]);
    sh("dmsetup", &["create", "vmt_asleep-pv", "--table", &table]);
    sh("vgcreate", &["-qq", "vmt_asleep", "/dev/mapper/vmt_asleep-pv"]);
    let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "inventory: { interval: 1h, timeout: 3s }"));
    let awake = Afterwards("dmsetup", vec!["resume".to_owned(), "vmt_asleep-pv".to_owned()]);
    sh("dmsetup", &["suspend", "--nolockfs", "vmt_asleep-pv"]);
    daemon.alert(&labels(&volume));
    std::thread::sleep(Duration::from_secs(8));
    let results: Vec<String> = daemon.results(&volume).into_iter().map(|past| past.result.to_string()).collect();
    let said = daemon.log().lines().any(|line| line.contains("level=warn") || line.contains("level=error"));
    drop(awake);
    assert!(!daemon.log().contains("lvextend"), "{}", daemon.log());
    assert!(said || !results.is_empty(), "nothing is said of it: {}", daemon.log());
    assert_eq!(volume.extents(), 16);
    // Asked again when it is over, it grows, if the first request does not do that by itself.
    assert!(results.iter().all(|result| result == "pv_unusable"), "{results:?}");
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    volume.unmount_and_check("ext4");
}

/// As for a virtual machine's disk that the host's LVM was told to scan.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_is_a_volume_of_this_host() {
    let _scanned = LocalConf::with("devices { scan_lvs = 1 }");
    let base = Group::new("vmt_base", &["512M"]);
    let disk = base.lv("disk", "256M");
    let group = Group::without_vg("vmt_nested", &[]);
    sh("vgcreate", &["-qq", "vmt_nested", &disk.path()]);
    let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    let sentence = refused_unharmed(&group, &volume, "ext4", "pv_unusable");
    assert!(sentence.contains("vmt_base"), "{sentence}");
}

// What this kernel will not grow

/// The commands that a sentence ends with.
fn printed(sentence: &str) -> &str {
    let begin = sentence.find("umount ").unwrap_or_else(|| panic!("no command in: {sentence}"));
    &sentence[begin..]
}

/// E1, E2: `resize2fs` would get EPERM when the volume has been extended already. What is printed helps.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_flagged_error_that_nobody_counted() {
    let group = Group::new("vmt_flagged", &["1G"]);
    for (name, journal) in [("flag", false), ("journal", true)] {
        let volume = group.lv(name, "64M");
        sh("mke2fs", &["-q", "-t", "ext4", "-b", "4096", &volume.path()]);
        if journal {
            // What an abort leaves there, EIO; the journal's superblock is not summed where metadata_csum is off.
            let block = sh("debugfs", &["-R", "bmap <8> 0", &volume.path()]);
            let at: u64 = block.trim().parse().expect("a number");
            let spoil = format!(
                r"printf '\377\377\377\373' | dd of={} bs=1 seek={} conv=notrunc status=none",
                volume.path(),
                at * 4096 + 32
            );
            sh("sh", &["-c", &spoil]);
        } else {
            sh("debugfs", &["-w", "-R", "ssv state 3", &volume.path()]);
        }
        group.mount(&volume, &[]);
        volume.write_data();
        volume.fill(88.0);
        let files = volume.files();
        let sentence = refused(&group, &volume, "fs_needs_check");
        assert_eq!(volume.extents(), 16);
        // `;` and not `&&`: e2fsck exits with 1 when it has mended something.
        sh("sh", &["-c", printed(&sentence)]);
        assert_eq!(volume.files(), files);
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        grown(&daemon, &volume);
        assert!(daemon.stop().success());
        volume.unmount_and_check("ext4");
        group.forget();
    }
}

/// S1: while it is mounted no kernel grows it; unmounted `resize2fs` does.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn sparse_super2_grows_only_unmounted() {
    let group = Group::new("vmt_super2", &["1G"]);
    for features in ["sparse_super2", "sparse_super2,^resize_inode"] {
        let name = features.replace(",^", "_");
        let mkfs = ["mke2fs", "-q", "-t", "ext4", "-O", features];
        let volume = full_as(&group, group.lv(&name, "64M"), &mkfs, &[]);
        let sentence = refused_unharmed(&group, &volume, "ext4", "fs_no_online_growth");
        assert!(sentence.contains("sparse_super2"), "{sentence}");
        let (extents, files) = (volume.extents(), volume.files());
        group.forget();
        sh("umount", &[path(&volume.mount_point)]);
        let offline = "defaults: { cooldown: 0s, min_increment: 32MiB, offline: allow }";
        let daemon = Daemon::start(&group, &config(&group, &[&volume], offline));
        let past = answer(&daemon, &volume, &labels(&volume));
        assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
        assert!(daemon.stop().success());
        assert_eq!(volume.extents(), extents + 8);
        sh("e2fsck", &["-f", "-n", &volume.path()]);
        group.mount(&volume, &[]);
        assert_eq!(volume.files(), files);
        group.forget();
    }
}

/// What grows a frozen file system waits until it is thawed: a backup program that died never does that.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_frozen_file_system() {
    let group = Group::new("vmt_frozen", &["2G"]);
    for kind in ["ext4", "xfs"] {
        let volume = full_as(&group, group.lv(kind, small(kind)), &[&format!("mkfs.{kind}"), "-q"], &[]);
        let files = volume.files();
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        let thaw = Afterwards("fsfreeze", vec!["-u".to_owned(), path(&volume.mount_point).to_owned()]);
        sh("fsfreeze", &["-f", path(&volume.mount_point)]);
        let sentence = refused_by(&group, &daemon, &volume, "fs_no_online_growth");
        drop(thaw);
        assert!(sentence.contains("frozen"), "{sentence}");
        assert_eq!(volume.files(), files);
        // Thawed it grows: nothing that was left behind stands in the way.
        grown(&daemon, &volume);
        volume.unmount_and_check(kind);
        group.forget();
    }
}

/// `btrfs_ioctl_resize` refuses sizes below 256 MiB.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_btrfs_below_256_mib() {
    let group = Group::new("vmt_small_btrfs", &["2G"]);
    let volume = group.filesystem("btrfs", "data", "128M");
    volume.write_data();
    fs::write(group.dir.join("config.yaml"), config(&group, &[&volume], SOON)).expect("a config file");
    let (before, files) = (group.fingerprint(), volume.files());
    let (code, printed) = by_hand(&group, &["extend", &volume.name(), "--by=32MiB"]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("fs_no_online_growth") && printed.contains("256 MiB"), "{printed}");
    assert_eq!(group.fingerprint(), before);
    remains(&group, &volume, "btrfs", &files);
    // Beyond that it grows.
    let (code, printed) = by_hand(&group, &["extend", &volume.name(), "--by=160MiB"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(volume.df_size(), 288 * MIB);
    volume.unmount_and_check("btrfs");
}

/// A paused balance excludes a resize as one that runs does.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_btrfs_with_something_under_way_that_excludes_a_resize() {
    let group = Group::new("vmt_balance", &["2G"]);
    let volume = group.filesystem("btrfs", "data", "768M");
    let point = path(&volume.mount_point);
    sh("dd", &["if=/dev/zero", &format!("of={point}/fill"), "bs=1M", "count=300", "conv=fsync", "status=none"]);
    volume.write_data();
    let operation = format!("/sys/fs/btrfs/{}/exclusive_operation", sh("findmnt", &["-no", "UUID", point]));
    let is = || fs::read_to_string(&operation).expect("an operation").trim().to_owned();
    // It has to be caught at work.
    for wait in 1..=20 {
        let mut command = Command::new("btrfs");
        command.args(["balance", "start", "--full-balance", point]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut balance = command.spawn().expect("btrfs runs");
        std::thread::sleep(Duration::from_millis(50 * wait));
        try_sh("btrfs", &["balance", "pause", point]);
        balance.wait().expect("it ends");
        if is() == "balance paused" {
            break;
        }
    }
    assert_eq!(is(), "balance paused");
    fs::write(group.dir.join("config.yaml"), config(&group, &[&volume], SOON)).expect("a config file");
    let (before, files) = (group.fingerprint(), volume.files());
    let (code, printed) = by_hand(&group, &["extend", &volume.name()]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("fs_no_online_growth") && printed.contains("balance"), "{printed}");
    assert_eq!(group.fingerprint(), before);
    sh("btrfs", &["balance", "cancel", point]);
    assert_eq!(volume.files(), files);
    let (code, printed) = by_hand(&group, &["extend", &volume.name()]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(volume.extents(), 200);
    volume.unmount_and_check("btrfs");
}

// What plain LVM grows safely

/// X1, X2: the number of allocation groups is read, not guessed from a first size.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_xfs_with_many_allocation_groups_grows() {
    let group = Group::new("vmt_groups", &["400G", "400G"]);
    // 0.1 thought of 4 groups at the beginning and spoke of a limit at 100 times that size. With 16, as mkfs.xfs makes
    // on stripes, it took 10 GiB for 2.5.
    let cases = [
        ("many", &["-L", "16G"][..], &["mkfs.xfs", "-q", "-d", "agcount=128"][..], "128", "40GiB"),
        ("stripes", &["-i", "2", "-L", "10G"], &["mkfs.xfs", "-q"], "16", "241GiB"),
    ];
    let more = "defaults: { cooldown: 0s, min_increment: 32MiB, budget: { bytes: 1TiB, per: 1d } }";
    for (name, layout, mkfs, groups, much) in cases {
        let volume = group.lv_as(name, layout);
        sh(mkfs[0], &[&mkfs[1..], &[&volume.path()]].concat());
        group.mount(&volume, &[]);
        let data = volume.write_data();
        fs::write(group.dir.join("config.yaml"), config(&group, &[&volume], more)).expect("a config file");
        let info = sh("xfs_info", &[path(&volume.mount_point)]);
        assert!(info.contains(&format!("agcount={groups},")), "{info}");
        let (extents, df_size) = (volume.extents(), volume.df_size());
        let (code, printed) = by_hand(&group, &["extend", &volume.name(), "--dry-run", &format!("--by={much}")]);
        assert_eq!(code, Some(0), "{printed}");
        assert!(!printed.contains("made with about"), "{printed}");
        let (code, printed) = by_hand(&group, &["extend", &volume.name(), "--by=1GiB"]);
        assert_eq!(code, Some(0), "{printed}");
        assert!(!printed.contains("made with about"), "{printed}");
        assert_eq!(volume.extents(), extents + 256);
        assert!(volume.df_size() - df_size > 1000 * MIB, "{}", volume.df_size() - df_size);
        data.assert_intact();
        volume.unmount_and_check("xfs");
        sh("lvremove", &["-qq", "-y", &volume.name()]);
        group.forget();
    }
}

/// X3: one driver grows all three, whatever it is mounted as.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn ext2_and_ext3_grow_like_ext4() {
    let group = Group::new("vmt_ext23", &["1G"]);
    for (made, mounted) in [("ext2", "ext2"), ("ext2", "ext4"), ("ext3", "ext3"), ("ext3", "ext4")] {
        let name = format!("{made}_{mounted}");
        let mkfs = ["mke2fs", "-q", "-t", made];
        let volume = full_as(&group, group.lv(&name, "64M"), &mkfs, &["-t", mounted]);
        assert_eq!(sh("findmnt", &["-no", "FSTYPE", path(&volume.mount_point)]), mounted);
        let files = volume.files();
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        grown(&daemon, &volume);
        assert!(daemon.stop().success());
        volume.unmount_and_check("ext4");
        group.mount(&volume, &["-t", mounted]);
        assert_eq!(volume.files(), files);
        group.forget();
    }
}

/// G1: LVM takes a disk that shares a tag of `cling_tag_list` with one that the volume is on.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn cling_follows_the_tags_of_the_disks() {
    let _tags = LocalConf::with(r#"allocation { cling_tag_list = [ "@ssd" ] }"#);
    let group = Group::new("vmt_tags", &["72M", "80M", "256M"]);
    sh("pvchange", &["-qq", "--addtag", "ssd", &group.loops[0], &group.loops[1]]);
    sh("pvchange", &["-qq", "--addtag", "slow", &group.loops[2]]);
    let volume = on_disk(&group, "data", 0);
    sh("lvchange", &["-qq", "--alloc", "cling", &volume.name()]);
    let volume = full_as(&group, volume, &["mkfs.ext4", "-q"], &[]);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
    let devices = || sh("lvs", &["--noheadings", "--segments", "-o", "devices", &volume.name()]);
    assert!(devices().contains(&format!("{}(", group.loops[1])), "{}", devices());
    group.fill_disk(&group.loops[1]);
    volume.fill(88.0);
    let before = group.fingerprint();
    let past = answer(&daemon, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "insufficient_space", "{}", past.sentence);
    assert!(past.sentence.contains("cling"), "{}", past.sentence);
    assert_eq!(group.fingerprint(), before);
    volume.unmount_and_check("ext4");
}

/// L1: LVM wants to be told how the last segment goes on.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn volumes_of_segments_that_differ_go_on_as_they_end() {
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("linear_striped", &["-l", "8"], &["-i2", "-I64k", "-l", "+8"]),
        ("striped_linear", &["-i2", "-I64k", "-l", "8"], &["-i1", "-l", "+8"]),
        ("stripe_size", &["-i2", "-I64k", "-l", "8"], &["-i2", "-I128k", "-l", "+8"]),
        ("more_stripes", &["-i2", "-I64k", "-l", "8"], &["-i3", "-I64k", "-l", "+9"]),
    ];
    let group = Group::new("vmt_segments", &["512M", "512M", "512M"]);
    for (name, first, then) in cases {
        let volume = group.lv_as(name, first);
        sh("lvextend", &[&["-qq"], then, &[&volume.name()]].concat());
        // Which is what plain LVM says to this.
        assert!(!try_sh("lvextend", &["-qq", "-l", "+9", &volume.name()]).0);
        let volume = full_as(&group, volume, &["mkfs.ext4", "-q"], &[]);
        let segments =
            || sh("lvs", &["--noheadings", "--segments", "-o", "segtype,stripes,stripe_size", &volume.name()]);
        let (files, extents, df_size, before) = (volume.files(), volume.extents(), volume.df_size(), segments());
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        let past = answer(&daemon, &volume, &labels(&volume));
        assert_eq!(past.result.as_str(), "grown", "{name}: {}", past.sentence);
        // Eight extents are nine where they come in threes.
        let more = if name == "more_stripes" { 9 } else { 8 };
        assert_eq!(volume.extents(), extents + more, "{name}");
        assert!(volume.df_size() > df_size + 28 * MIB);
        assert_eq!(segments(), before, "{name}: the last segment is longer, there is no other");
        assert!(daemon.stop().success());
        remains(&group, &volume, "ext4", &files);
        group.forget();
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_pool_whose_data_are_of_segments_that_differ() {
    let group = Group::new("vmt_pool_segments", &["512M", "512M"]);
    let arguments =
        ["-qq", "-y", "--type", "thin-pool", "-l", "16", "--poolmetadatasize", "4M", "-n", "pool", &group.name];
    sh("lvcreate", &arguments);
    sh("lvextend", &["-qq", "-i2", "-I64k", "-l", "+8", "vmt_pool_segments/pool"]);
    sh("lvcreate", &["-qq", "-y", "-V", "1G", "--thinpool", "pool", "-n", "thin", &group.name]);
    sh("dd", &["if=/dev/zero", "of=/dev/vmt_pool_segments/thin", "bs=1M", "count=86", "oflag=direct", "status=none"]);
    let pool = group.volume("pool");
    let daemon = Daemon::start(&group, &pool_config(&group, ""));
    let past = answer(&daemon, &pool, &[("instance", "vm:19845"), ("vg", &group.name), ("lv", "pool")]);
    assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
    assert_eq!(pool.extents(), 24 + 8);
}

/// L2: one leg's disk is full, and there are two more without a leg.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_legs_of_a_raid1_go_on_elsewhere_when_one_has_no_room() {
    let group = Group::new("vmt_leg_full", &["128M", "256M", "256M", "256M"]);
    let (first, second) = (group.loops[0].clone(), group.loops[1].clone());
    let made = ["-qq", "-y", "--type", "raid1", "-m", "1", "--nosync", "-l", "16", "-n", "data", &group.name];
    sh("lvcreate", &[&made[..], &[&first, &second]].concat());
    group.fill_disk(&first);
    let volume = full_as(&group, group.volume("data"), &["mkfs.ext4", "-q"], &[]);
    in_sync(&volume);
    let files = volume.files();
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
    // Whatever it took, no two legs share a disk.
    let rows =
        sh("lvs", &["-a", "--noheadings", "--segments", "--separator", "|", "-o", "lv_name,devices", &group.name]);
    let on = |leg: &str| -> Vec<String> {
        let rows = rows.lines().filter(|row| row.contains(&format!("data_rimage_{leg}]")));
        rows.filter_map(|row| Some(row.split('|').nth(1)?.split('(').next()?.to_owned())).collect()
    };
    let (one, other) = (on("0"), on("1"));
    assert!(!one.is_empty() && !other.is_empty() && one.iter().all(|disk| !other.contains(disk)), "{rows}");
    in_sync(&volume);
    remains(&group, &volume, "ext4", &files);
}

/// L3: they have no copies, so nothing has to be in sync.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn raid0_grows_like_stripes() {
    for kind in ["raid0", "raid0_meta"] {
        let group = Group::new(&format!("vmt_{kind}"), &["256M", "256M"]);
        let volume = group.lv_as("data", &["--type", kind, "-i", "2", "-l", "16"]);
        let volume = full_as(&group, volume, &["mkfs.ext4", "-q"], &[]);
        let (files, before) = (volume.files(), legs(&volume));
        let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
        grown(&daemon, &volume);
        assert_eq!(legs(&volume), before);
        remains(&group, &volume, "ext4", &files);
    }
}

/// L4: where the room is not known there is no number, and no advice to buy a disk.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn layouts_whose_room_is_unknown_say_so() {
    let check = |sentence: &str| {
        assert!(!sentence.contains("0 B left") && !sentence.contains("no extents"), "{sentence}");
        assert!(!sentence.contains("add a PV"), "{sentence}");
    };
    let group = Group::new("vmt_two_on_one", &["512M"]);
    let volume = group.lv_as("data", &["--alloc", "anywhere", "-i", "2", "-l", "16"]);
    let volume = full_as(&group, volume, &["mkfs.ext4", "-q"], &[]);
    check(&refused_unharmed(&group, &volume, "ext4", "layered_device"));
    drop(group);

    let group = Group::new("vmt_integrity", &["256M", "256M"]);
    let made =
        ["-qq", "-y", "--type", "raid1", "-m", "1", "--raidintegrity", "y", "-l", "16", "-n", "data", &group.name];
    sh("lvcreate", &made);
    let volume = full_as(&group, group.volume("data"), &["mkfs.ext4", "-q"], &[]);
    in_sync(&volume);
    check(&refused_unharmed(&group, &volume, "ext4", "layered_device"));
    drop(group);

    let group = Group::new("vmt_cached_pool", &["512M", "256M"]);
    let pool = ["-qq", "-y", "--type", "thin-pool", "-l", "16", "--poolmetadatasize", "4M", "-n", "pool", &group.name];
    sh("lvcreate", &pool);
    sh("lvcreate", &["-qq", "-y", "--type", "cache", "-L", "32M", "-n", "fast", "vmt_cached_pool/pool"]);
    sh("lvcreate", &["-qq", "-y", "-V", "1G", "--thinpool", "pool", "-n", "thin", &group.name]);
    sh("dd", &["if=/dev/zero", "of=/dev/vmt_cached_pool/thin", "bs=1M", "count=58", "oflag=direct", "status=none"]);
    let daemon = Daemon::start(&group, &pool_config(&group, ""));
    let before = group.fingerprint();
    let past = answer(&daemon, &group.volume("pool"), &[("instance", "vm:19845"), ("vg", &group.name), ("lv", "pool")]);
    assert_eq!(past.result.as_str(), "layered_device", "{}", past.sentence);
    check(&past.sentence);
    assert_eq!(group.fingerprint(), before);
}

/// L5: its size is that of its store.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_snapshot_is_called_one() {
    let group = Group::new("vmt_thick", &["512M"]);
    let origin = group.filesystem("ext4", "data", "64M");
    origin.fill(88.0);
    sh("lvcreate", &["-qq", "-s", "-L", "16M", "-n", "snap", &origin.name()]);
    let snapshot = group.volume("snap");
    group.mount(&snapshot, &[]);
    let sentence = refused_unharmed(&group, &snapshot, "ext4", "layered_device");
    assert!(sentence.contains("is a snapshot of vmt_thick/data"), "{sentence}");
}

/// L6: the volume was as large as that already.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_grew_is_named_when_only_the_file_system_did() {
    let group = Group::new("vmt_only_fs", &["512M"]);
    let volume = full_as(&group, group.lv("data", "64M"), &["mkfs.ext4", "-q"], &[]);
    sh("lvextend", &["-qq", "-l", "+8", &volume.name()]);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    let df_size = volume.df_size();
    let past = answer(&daemon, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
    assert!(volume.df_size() > df_size + 28 * MIB);
    assert!(past.sentence.starts_with("the file system on vmt_only_fs/data (96 MiB) grew"), "{}", past.sentence);
    assert!(!past.sentence.contains("grew from 96 MiB to 96 MiB"), "{}", past.sentence);
}

/// L7: room that LVM does not know of yet is nearer than a new disk.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_is_larger_than_its_pv_is_pointed_out() {
    let group = Group::new("vmt_larger_disk", &["80M"]);
    let volume = full_as(&group, on_disk(&group, "data", 0), &["mkfs.ext4", "-q"], &[]);
    sh("truncate", &["-s", "256M", path(&group.dir.join("disk0"))]);
    sh("losetup", &["-c", &group.loops[0]]);
    let sentence = refused_unharmed(&group, &volume, "ext4", "insufficient_space");
    let command = format!("pvresize {}", group.loops[0]);
    assert!(sentence.contains(&command), "{sentence}");
    sh("sh", &["-c", &format!("{command} >/dev/null")]);
    group.forget();
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    grown(&daemon, &volume);
}
