//! A full group that gets more room: a disk that became larger, with and without a partition, and spare PVs.

use std::fs;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, config, labels, script};
use crate::decisions::answer;
use crate::part;
use crate::refuse::refused_by;
use crate::storage::{Group, Volume, path, sh, try_sh};

/// The config of a group with these keys.
pub(crate) fn with(group: &Group, volume: &Volume, keys: &str) -> String {
    let more = format!(
        "defaults: {{ cooldown: 0s, min_increment: 32MiB }}\ninventory: {{ interval: 5s }}\nvolume_groups: [{{ name: {}, {keys} }}]",
        group.name
    );
    config(group, &[volume], &more)
}

/// A file system on all of the group, with data on it and over its threshold.
fn full(group: &Group, kind: &str) -> Volume {
    let volume = group.lv_as("data", &["-l", "100%FREE"]);
    volume.mkfs(kind);
    group.mount(&volume, &[]);
    volume.write_data();
    volume.fill(88.0);
    volume
}

/// A disk of a group becomes larger, as one of a cloud does.
pub(crate) fn enlarge(group: &Group, number: usize, size: &str) {
    sh("truncate", &["-s", size, path(&group.dir.join(format!("disk{number}")))]);
    sh("losetup", &["-c", &group.loops[number]]);
}

/// All files are there, and the checker finds nothing.
fn is_sound(group: &Group, volume: &Volume, kind: &str, files: &str) {
    assert_eq!(volume.files(), files, "every file is as it was");
    volume.unmount_and_check(kind);
    group.mount(volume, &[]);
    assert_eq!(volume.files(), files, "every file is as it was");
}

/// What a whole disk holds.
fn contents(disk: &str) -> String {
    sh("sha256sum", &[disk])
}

fn uuid_of(disk: &str) -> String {
    sh("pvs", &["--noheadings", "-o", "pv_uuid", disk]).trim().to_owned()
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_grows_lets_the_target_grow_that_waits_without_another_alert() {
    for kind in ["ext4", "xfs"] {
        let group = Group::new(&format!("vmt_larger_{kind}"), &["1G"]);
        let volume = full(&group, kind);
        let files = volume.files();
        let daemon = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize"));
        let (before, df) = (volume.extents(), volume.df_size());
        refused_by(&group, &daemon, &volume, "insufficient_space");
        let begun = Instant::now();
        enlarge(&group, 0, "2G");
        let past = daemon.wait_for_outcome(&volume, "grown");
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        let took = begun.elapsed().as_secs_f64();
        part::say(&format!("figures: {kind}: {took:.1} s from the larger disk to the larger file system"));
        assert!(past.sentence.contains("had become larger"), "{}", past.sentence);
        assert!(volume.extents() > before && volume.df_size() > df);
        is_sound(&group, &volume, kind, &files);
    }
}

/// A disk with a table of that kind, which sfdisk makes of these lines; no group yet. And the name of its partitions
/// without their numbers.
pub(crate) fn partitioned(name: &str, size: &str, table: &str, partitions: &str) -> (Group, String) {
    let mut group = Group::without_vg(name, &[size]);
    let disk = group.loops[0].clone();
    sh("sh", &["-c", &format!("printf '{partitions}' | sfdisk -q -X {table} {disk}")]);
    sh("losetup", &["-d", &disk]);
    group.loops[0] = sh("losetup", &["-f", "-P", "--show", path(&group.dir.join("disk0"))]);
    sh("udevadm", &["settle"]);
    let stem = format!("{}p", group.loops[0]);
    (group, stem)
}

/// A group whose PV is the one partition of a disk with a GPT, and that partition.
pub(crate) fn in_partition(name: &str) -> (Group, String) {
    let (group, stem) = partitioned(name, "1G", "gpt", ",,L\\n");
    let partition = stem + "1";
    sh("vgcreate", &["-qq", name, &partition]);
    (group, partition)
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_partition_grows_first_where_the_pv_is_in_one() {
    for kind in ["ext4", "xfs"] {
        let (group, partition) = in_partition(&format!("vmt_part_{kind}"));
        let volume = full(&group, kind);
        let files = volume.files();
        {
            let daemon = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize"));
            refused_by(&group, &daemon, &volume, "insufficient_space");
            enlarge(&group, 0, "2G");
            let past = answer(&daemon, &volume, &labels(&volume));
            assert_eq!(past.result.as_str(), "supply_refused", "{}", past.sentence);
            assert!(past.sentence.contains("partitions to growpart"), "{}", past.sentence);
        }
        let daemon = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize, partitions: growpart"));
        // It waits since before this start.
        daemon.wait_for_outcome(&volume, "grown");
        let size: u64 = sh("blockdev", &["--getsize64", &partition]).parse().expect("a number");
        assert!(size > 2040 << 20, "{size}");
        is_sound(&group, &volume, kind, &files);
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_partition_that_is_not_the_last_is_left_alone() {
    let (group, stem) = partitioned("vmt_notlast", "1G", "gpt", ",900M,L\\n,,L\\n");
    sh("vgcreate", &["-qq", &group.name, &format!("{stem}1")]);
    let volume = full(&group, "ext4");
    enlarge(&group, 0, "2G");
    let daemon = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize, partitions: growpart"));
    let table = || sh("sfdisk", &["-d", &group.loops[0]]);
    let before = table();
    let sentence = refused_by(&group, &daemon, &volume, "supply_refused");
    assert!(sentence.contains("is not the last"), "{sentence}");
    assert_eq!(table(), before);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_spare_is_added_and_can_be_given_back() {
    let group = Group::new("vmt_spare", &["600M"]);
    let more = Group::without_vg("vmt_spare_more", &["500M"]);
    sh("pvcreate", &["-qq", &more.loops[0]]);
    sh("udevadm", &["settle"]);
    let volume = full(&group, "ext4");
    let files = volume.files();
    let spares = format!("spares: [{}]", uuid_of(&more.loops[0]));
    let daemon = Daemon::start(&group, &with(&group, &volume, &spares));
    let past = answer(&daemon, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
    assert!(past.sentence.contains(&format!("the spare {}", more.loops[0])), "{}", past.sentence);
    assert_eq!(sh("vgs", &["--noheadings", "-o", "pv_count", &group.name]).trim(), "2");
    is_sound(&group, &volume, "ext4", &files);
    drop(daemon);
    // While nothing lies on it, it goes back as the sentence after a failure says.
    sh("umount", &[path(&volume.mount_point)]);
    sh("lvremove", &["-qq", "-y", &volume.name()]);
    sh("lvm", &["vgreduce", &group.name, &more.loops[0]]);
    assert_eq!(sh("pvs", &["--noheadings", "-o", "vg_name", &more.loops[0]]).trim(), "");
}

/// How a disk is spoilt that would be a spare.
type Spoil = fn(&str);

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_spare_that_is_not_what_it_should_be_is_refused_and_not_touched() {
    let group = Group::new("vmt_bad", &["600M"]);
    let volume = full(&group, "ext4");
    let none: Spoil = |_| ();
    let cases: [(&str, &str, Spoil); 6] = [
        ("is not on this host", "a signature in place of the PV", |disk| {
            sh("wipefs", &["-q", "-a", disk]);
            sh("mkfs.ext4", &["-q", disk]);
        }),
        ("is not on this host", "raw data in place of the PV", |disk| {
            sh("sh", &["-c", &format!("head -c 64M /dev/urandom > {disk}")]);
        }),
        ("is not a PV alone", "a signature beside the PV", |disk| {
            // A btrfs has its superblock at 64 KiB, behind the label.
            sh("mkfs.btrfs", &["-q", "-f", "/tmp/vmt_bad/btrfs.image"]);
            sh(
                "dd",
                &[
                    "if=/tmp/vmt_bad/btrfs.image",
                    &format!("of={disk}"),
                    "bs=4096",
                    "skip=16",
                    "seek=16",
                    "count=1",
                    "conv=notrunc",
                    "status=none",
                ],
            );
        }),
        ("partition table", "partitions on it", |disk| {
            sh("sh", &["-c", &format!("printf '\\125\\252' | dd of={disk} bs=1 seek=510 conv=notrunc status=none")]);
            sh(
                "sh",
                &[
                    "-c",
                    &format!(
                        "printf '\\000\\000\\000\\000\\203\\000\\000\\000\\000\\010\\000\\000\\000\\020\\000\\000' | dd of={disk} bs=1 seek=446 conv=notrunc status=none"
                    ),
                ],
            );
        }),
        ("takes no writes", "read-only", |disk| drop(sh("blockdev", &["--setro", disk]))),
        ("belongs to the group vmt_bad_other", "another group", |disk| {
            drop(sh("vgcreate", &["-qq", "vmt_bad_other", disk]))
        }),
    ];
    sh("truncate", &["-s", "200M", "/tmp/vmt_bad/btrfs.image"]);
    for (why, what, spoil) in cases {
        let more = Group::without_vg("vmt_bad_other", &["64M"]);
        let disk = more.loops[0].clone();
        sh("pvcreate", &["-qq", &disk]);
        sh("udevadm", &["settle"]);
        let spares = format!("spares: [{}]", uuid_of(&disk));
        spoil(&disk);
        sh("udevadm", &["settle"]);
        untouched(&group, &volume, &spares, &[&disk], (why, what));
        try_sh("blockdev", &["--setrw", &disk]);
    }
    // Those that need other disks.
    let coarse = coarse_spare();
    untouched(
        &group,
        &volume,
        &format!("spares: [{}]", uuid_of(&coarse)),
        &[&coarse],
        ("a logical block size of 4 KiB", "large sectors"),
    );
    try_sh("losetup", &["-d", &coarse]);
    let twins = Group::without_vg("vmt_bad_twins", &["64M", "64M"]);
    sh("pvcreate", &["-qq", &twins.loops[0]]);
    let spares = format!("spares: [{}]", uuid_of(&twins.loops[0]));
    sh(
        "dd",
        &[
            &format!("if={}", twins.loops[0]),
            &format!("of={}", twins.loops[1]),
            "bs=1M",
            "count=4",
            "conv=notrunc",
            "status=none",
        ],
    );
    sh("udevadm", &["settle"]);
    untouched(&group, &volume, &spares, &[&twins.loops[0], &twins.loops[1]], ("is on /dev/", "one UUID on two disks"));
    drop(twins);
    let lost = Group::without_vg("vmt_bad_lost", &["64M"]);
    sh("pvcreate", &["-qq", &lost.loops[0]]);
    let spares = format!("spares: [{}]", uuid_of(&lost.loops[0]));
    none(&lost.loops[0]);
    lost.lose_disk(0);
    untouched(&group, &volume, &spares, &[], ("is not on this host", "missing"));
    drop(lost);
    let unlisted = Group::without_vg("vmt_bad_unlisted", &["64M", "64M"]);
    unlisted.loops.iter().for_each(|disk| drop(sh("pvcreate", &["-qq", disk])));
    let spares = format!("spares: [{}]", uuid_of(&unlisted.loops[0]));
    unlisted.lose_disk(0);
    untouched(&group, &volume, &spares, &[&unlisted.loops[1]], ("is not on this host", "an orphan that nobody listed"));
    drop(unlisted);
    let tiny = Group::without_vg("vmt_bad_tiny", &["4M"]);
    sh("pvcreate", &["-qq", &tiny.loops[0]]);
    let spares = format!("spares: [{}]", uuid_of(&tiny.loops[0]));
    untouched(&group, &volume, &spares, &[&tiny.loops[0]], ("is smaller than an extent", "smaller than an extent"));
}

fn coarse_spare() -> String {
    let file = "/tmp/vmt_bad/coarse.spare";
    sh("truncate", &["-s", "64M", file]);
    let disk = sh("losetup", &["-f", "--show", "--sector-size", "4096", file]);
    sh("pvcreate", &["-qq", &disk]);
    sh("udevadm", &["settle"]);
    disk
}

/// Refused for that reason, and neither group nor disks changed by a byte.
fn untouched(group: &Group, volume: &Volume, spares: &str, disks: &[&str], (why, what): (&str, &str)) {
    let before: Vec<String> = disks.iter().map(|disk| contents(disk)).collect();
    let daemon = Daemon::start(group, &with(group, volume, spares));
    let sentence = refused_by(group, &daemon, volume, "supply_refused");
    assert!(sentence.contains(why), "{what}: {sentence}");
    drop(daemon);
    let after: Vec<String> = disks.iter().map(|disk| contents(disk)).collect();
    assert_eq!(before, after, "{what}");
    group.forget();
}

/// `kill -9` at the moment at which the command of a step begins, or has just ended; the command itself goes on.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn killed_while_a_group_gets_room_the_next_start_goes_on_and_does_nothing_twice() {
    for (kind, step) in [("disk", "pvresize"), ("part", "growpart"), ("spare", "vgextend")] {
        for moment in ["before", "after"] {
            killed(kind, step, moment);
        }
    }
}

fn killed(kind: &str, step: &str, moment: &str) {
    let name = format!("vmt_killed_{kind}_{moment}");
    let group = if kind == "part" { in_partition(&name).0 } else { Group::new(&name, &["1G"]) };
    let more = Group::without_vg(&format!("{name}_more"), &["500M"]);
    let volume = full(&group, "ext4");
    let files = volume.files();
    let before = volume.extents();
    let keys = if kind == "spare" {
        sh("pvcreate", &["-qq", &more.loops[0]]);
        sh("udevadm", &["settle"]);
        format!("spares: [{}]", uuid_of(&more.loops[0]))
    } else {
        enlarge(&group, 0, "2G");
        "grown_disks: resize, partitions: growpart".to_owned()
    };
    // Once it kills the daemon that started it, and each run of the step is counted.
    let kill = format!("[ -e {0}/killed ] || {{ touch {0}/killed; kill -9 $PPID; }}", path(&group.dir));
    let count = format!("echo run >>{}/runs", path(&group.dir));
    let (first, then) = if moment == "before" { (kill.as_str(), ":") } else { (":", kill.as_str()) };
    let wrapper = |program: &str, pattern: &str| {
        let real = sh("sh", &["-c", &format!("command -v {program}")]);
        let text = format!(
            "case \"$1 $*\" in\n{pattern}) {count}; {first}; {real} \"$@\"; code=$?; {then}; exit $code ;;\n*) exec {real} \"$@\" ;;\nesac\n"
        );
        script(&group.dir, program, &text)
    };
    let tool = match step {
        "growpart" => format!("growpart: {}", wrapper("growpart", "*")),
        command => format!("lvm: {}", wrapper("lvm", &format!("{command}\\ *"))),
    };
    let config = format!("{}\ntools: {{ {tool} }}\n", with(&group, &volume, &keys));
    let mut daemon = Daemon::start(&group, &config);
    daemon.alert(&labels(&volume));
    let begun = Instant::now();
    while daemon.ended().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it was not killed: {}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(daemon);
    let next = Daemon::start(&group, &config);
    next.wait_for_outcome(&volume, "grown");
    drop(next);
    let runs = fs::read_to_string(group.dir.join("runs")).expect("it ran").lines().count();
    assert_eq!(runs, 1, "{kind} {moment}: {step} ran {runs} times");
    assert!(volume.extents() > before);
    is_sound(&group, &volume, "ext4", &files);
    drop(group);
    try_sh("wipefs", &["-q", "-a", &more.loops[0]]);
}

/// A virtual SCSI disk says how large it is only when it is asked.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_scsi_disk_is_asked_how_large_it_is() {
    sh("modprobe", &["scsi_debug", "dev_size_mb=400", "sector_size=512"]);
    sh("udevadm", &["settle"]);
    let disk = fs::read_dir("/sys/bus/pseudo/drivers/scsi_debug/adapter0/host0/target0:0:0/0:0:0:0/block")
        .or_else(|_| fs::read_dir("/sys/block"))
        .expect("a folder")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .find(|name| name.starts_with("sd"))
        .expect("a SCSI disk");
    let group = Group::without_vg("vmt_scsi", &[]);
    sh("vgcreate", &["-qq", &group.name, &format!("/dev/{disk}")]);
    let volume = full(&group, "ext4");
    let off = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize"));
    refused_by(&group, &off, &volume, "insufficient_space");
    fs::write("/sys/bus/pseudo/drivers/scsi_debug/virtual_gb", "1").expect("a setting of the module");
    let past = answer(&off, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "insufficient_space", "it has not said so: {}", past.sentence);
    drop(off);
    let on = Daemon::start(&group, &with(&group, &volume, "grown_disks: resize, rescan: \"on\""));
    let past = answer(&on, &volume, &labels(&volume));
    assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
    drop(on);
    drop(group);
    sh("modprobe", &["-r", "scsi_debug"]);
}
