//! Unusual hosts on which nothing is wrong: a group whose metadata area is full, a pool whose writers wait, names with
//! every character that LVM allows, LUKS on disks with other sectors.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, config, labels};
use crate::decisions::grown;
use crate::luks::{LUKS2, encrypted};
use crate::storage::{Group, Volume, path, sh, try_sh};

const SOON: &str = "defaults: { cooldown: 0s, min_increment: 32MiB }\ninventory: { interval: 5s }";

/// V1b: LVM cannot write a longer description of the group. `lvextend` fails and changes nothing; what it says is what
/// a person needs.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_group_whose_metadata_area_is_full_fails_with_the_words_of_lvm() {
    let group = Group::without_vg("vmt_mdafull", &["300M", "300M"]);
    sh("vgcreate", &["-qq", &group.name, &group.loops[0], &group.loops[1]]);
    // All of the first disk, so that a growth needs another segment, and with it more text.
    sh("lvcreate", &["-qq", "-y", "-Wn", "-l", "100%PVS", "-n", "data", &group.name, &group.loops[0]]);
    let volume = group.volume("data");
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    volume.write_data();
    volume.fill(88.0);
    // Tags in its description, as many as LVM takes: half of an area of 1 MiB, less a little for the next ones.
    let (backup, tagged) = (group.dir.join("vg.txt"), group.dir.join("tagged.txt"));
    sh("vgcfgbackup", &["-qq", "-f", path(&backup), &group.name]);
    let text = fs::read_to_string(&backup).expect("a backup");
    let restore = |length: usize| {
        let tags: Vec<String> = (0..length / 900).map(|number| format!("\"{number:0>890}\"")).collect();
        let rest = format!("\"r{}\"", "x".repeat(length % 900));
        let start = format!("{} {{\n", group.name);
        let with = format!("{start}tags = [{}, {rest}]\n", tags.join(", "));
        fs::write(&tagged, text.replacen(&start, &with, 1)).expect("a file");
        try_sh("vgcfgrestore", &["-qq", "-y", "-f", path(&tagged), &group.name]).0
    };
    let (mut fits, mut not) = (400_000, 1_100_000);
    assert!(restore(fits), "{fits}");
    assert!(!restore(not), "{not}");
    while not - fits > 20 {
        let middle = usize::midpoint(fits, not);
        *(if restore(middle) { &mut fits } else { &mut not }) = middle;
    }
    assert!(restore(fits - 60));
    let (extents, files) = (volume.extents(), volume.files());
    let daemon = Daemon::start(&group, &config(&group, &[&volume], SOON));
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_outcome(&volume, "failed");
    assert!(past.sentence.contains("metadata"), "what lvextend said is missing: {}", past.sentence);
    assert_eq!(volume.extents(), extents);
    let kernel = sh("dmsetup", &["info", "-c", "--noheadings", "-o", "suspended", &volume.path()]);
    assert_eq!(kernel.trim(), "Active");
    fs::write(volume.mount_point.join("alive"), "yes").expect("it takes writes");
    fs::remove_file(volume.mount_point.join("alive")).expect("it takes writes");
    assert_eq!(volume.files(), files);
    drop(daemon);
    volume.unmount_and_check("ext4");
}

/// T1: the pool is full to the last block and a writer waits in the kernel, as by default for a minute. The growth of
/// the pool lets it go on.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_writer_that_waits_for_a_full_pool_goes_on_when_it_grows() {
    let group = Group::new("vmt_poolfull", &["1G"]);
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-L", "64M", "-n", "pool", &group.name]);
    sh("lvcreate", &["-qq", "-y", "-V", "256M", "-n", "data", "--thinpool", "pool", &group.name]);
    let volume = group.volume("data");
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    let pool = group.volume("pool");
    let written = volume.mount_point.join("written");
    let mut writer = Command::new("dd")
        .args([
            "if=/dev/urandom",
            &format!("of={}", path(&written)),
            "bs=1M",
            "count=90",
            "oflag=direct",
            "status=none",
        ])
        .spawn()
        .expect("dd");
    for _ in 0..300 {
        if pool.lvs("data_percent").parse::<f64>().is_ok_and(|percent| percent >= 100.0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(writer.try_wait().expect("a child").is_none(), "it waits");
    let target = format!("    - {{ thin_pool: {}/pool, increment: 128MiB, cooldown: 0s }}\n", group.name);
    let daemon = Daemon::start(&group, &(config(&group, &[], SOON) + &target));
    let before = pool.extents();
    daemon.alert(&[("instance", "vm:19845"), ("vg", &group.name), ("lv", "pool")]);
    daemon.wait_for_outcome(&pool, "grown");
    assert!(pool.extents() >= before + 32);
    assert!(writer.wait().expect("a child").success(), "the writer ends");
    assert_eq!(fs::metadata(&written).expect("a file").len(), 90 << 20);
    drop(daemon);
    volume.unmount_and_check("ext4");
}

/// N1: each character that LVM takes in names, doubled hyphens, and names that look like others'.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn names_of_all_characters_that_lvm_takes_grow() {
    let group = Group::new("vmt_n--a.b+c_d", &["1G"]);
    let volumes: Vec<Volume> = ["a.b+c_d", "x--y", "0", "-a"]
        .into_iter()
        .filter(|name| try_sh("lvcreate", &["-qq", "-y", "-Wn", "-L", "64M", "-n", name, "--", &group.name]).0)
        .map(|name| {
            let volume = group.volume(name);
            volume.mkfs("ext4");
            group.mount(&volume, &[]);
            volume.fill(88.0);
            volume
        })
        .collect();
    assert!(volumes.len() >= 3, "{}", volumes.len());
    let targets: Vec<&Volume> = volumes.iter().collect();
    let daemon = Daemon::start(&group, &config(&group, &targets, SOON));
    for volume in &volumes {
        grown(&daemon, volume);
        volume.unmount_and_check("ext4");
    }
}

/// LUKS2 keeps the sector size that it was made with. On extents of a disk with larger ones the kernel gives the whole
/// mapping the larger size, and the file system in it must bear that.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn encryption_takes_only_sectors_that_its_file_system_bears() {
    for (kind, options, sector, result) in [
        ("ext4", "-b 4096", "512", "grown"),
        ("ext4", "-b 1024", "512", "block_size"),
        ("ext4", "-b 4096", "4096", "grown"),
        ("xfs", "-s size=512", "512", "block_size"),
    ] {
        let name = format!("vmt_mixed_{kind}{}{sector}", options.len());
        let mut group = Group::new(&name, &["500M"]);
        let volume = group.lv_as("data", &["-Wn", "-l", "100%FREE"]);
        group.add_coarse_disk("600M");
        let (key, device) = encrypted(&group, &volume.path(), &[LUKS2, &["--sector-size", sector]].concat());
        sh("sh", &["-c", &format!("mkfs.{kind} -q {options} {device}")]);
        fs::create_dir_all(&volume.mount_point).expect("a mount point");
        sh("mount", &[&device, path(&volume.mount_point)]);
        volume.write_data();
        volume.fill(88.0);
        let (files, extents) = (volume.files(), volume.extents());
        let text = config(&group, &[&volume], SOON) + &format!("      luks_key_file: {}\n", path(&key));
        let daemon = Daemon::start(&group, &text);
        daemon.alert(&labels(&volume));
        let past = daemon.wait_for_outcome(&volume, result);
        assert_eq!(volume.extents() > extents, result == "grown", "{}", past.sentence);
        drop(daemon);
        volume.unmount_and_check_on(kind, &device);
        sh("cryptsetup", &["close", &device]);
        // And it opens and mounts again.
        sh(
            "cryptsetup",
            &["open", "--key-file", path(&key), &volume.path(), device.trim_start_matches("/dev/mapper/")],
        );
        sh("mount", &[&device, path(&volume.mount_point)]);
        assert_eq!(volume.files(), files, "every file is as it was");
        volume.unmount_and_check_on(kind, &device);
        sh("cryptsetup", &["close", &device]);
    }
}
