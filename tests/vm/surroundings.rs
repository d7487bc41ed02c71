//! What surrounds LVM: settings of other people's, full disks, locks; and file systems that are no mounted ext4 or XFS.

use std::fs::{self, File};
use std::io::Read;
use std::process::Command;

use lvm_autoscaler::filesystem::{self, Superblock};

use crate::daemon::{Daemon, config, labels};
use crate::grow::assert_grown_once;
use crate::storage::{EXTENT, Group, Volume, path, sh, try_sh};

/// Each of these once made a report fail or unreadable, or a command fail.
const HOSTILE: &str = r#"
global { units = "h" suffix = 1 wait_for_locks = 0 }
log { verbose = 2 prefix = "XX: " command_names = 1 report_command_log = 1 }
report {
    output_format = "json" compact_output = 1 headings = 0 separator = "|" list_item_separator = ";" prefixes = 1
    quoted = 0 columns_as_rows = 1 binary_values_as_numeric = 0 mark_hidden_devices = 0
}
"#;

/// Puts a full folder over /etc/lvm until it is dropped.
struct FullEtc;

impl FullEtc {
    fn new() -> FullEtc {
        // Made first, so that a failure below leaves nothing mounted behind.
        let full = FullEtc;
        sh("mkdir", &["-p", "/tmp/full_etc"]);
        sh("mount", &["-t", "tmpfs", "-o", "size=1m", "full_etc", "/tmp/full_etc"]);
        // What other tests left in the archive is more than that.
        sh(
            "sh",
            &["-c", "cd /etc/lvm && tar c --exclude='./archive/*' --exclude='./backup/*' . | tar x -C /tmp/full_etc"],
        );
        fs::write("/tmp/full_etc/lvmlocal.conf", HOSTILE).expect("a config file");
        try_sh("sh", &["-c", "cat /dev/zero >/tmp/full_etc/fill"]);
        sh("mount", &["--bind", "/tmp/full_etc", "/etc/lvm"]);
        full
    }
}

impl Drop for FullEtc {
    fn drop(&mut self) {
        // At once: a command of LVM's that has a file of it open would hold an ordinary one up, and everything after it
        // would meet the hostile settings.
        try_sh("umount", &["--lazy", "/etc/lvm"]);
        try_sh("umount", &["--lazy", "/tmp/full_etc"]);
    }
}

/// As if `/` were on the volume: the file system that is to grow holds the daemon's state, and not a byte is left on
/// it; LVM's own folder is full too, its settings are somebody's, and another command holds the group for a while.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_holds_everything_and_is_full_to_the_last_byte_grows() {
    for kind in ["ext4", "xfs"] {
        let group = Group::new(&format!("vmt_brim_{kind}"), &["2G"]);
        let volume = group.filesystem(kind, "data", "320M");
        let state = volume.mount_point.join("state");
        fs::create_dir(&state).expect("a folder");
        std::os::unix::fs::symlink(&state, group.dir.join("state")).expect("a link");
        let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
        volume.fill(95.0);
        try_sh("sh", &["-c", &format!("cat /dev/zero >{}/rest", path(&volume.mount_point))]);
        let (extents, df_size) = (volume.extents(), volume.df_size());
        let full = FullEtc::new();
        let lock = format!("/run/lock/lvm/V_{}", group.name);
        let mut holder = Command::new("flock").args([&lock, "sleep", "3"]).spawn().expect("flock runs");
        daemon.alert(&labels(&volume));
        let past = daemon.wait_for_outcome(&volume, "grown");
        holder.wait().expect("it ends");
        drop(full);
        // More than one increment, for it was more than full; once, and the file system with it.
        let grown = volume.extents();
        assert!(grown > extents && (grown - extents).is_multiple_of(8), "{extents} {grown}");
        // ext4 keeps some 6 % of what is new for its own tables.
        let (more, percent) = (volume.df_size() - df_size, volume.df_percent());
        assert!(more > (grown - extents) * EXTENT * 9 / 10 && percent < 81.0, "{more} {percent}");
        let (_, rest) = past.sentence.split_once("the metadata backup ").expect("the sentence says where it is");
        let file = rest.split(' ').next().expect("a path");
        assert!(file.starts_with("/run/lvm-autoscaler/backup/vmt_brim_"), "{}", past.sentence);
        assert!(fs::read_to_string(file).expect("there").contains(&format!("extent_count = {extents}")));
        assert_eq!(sh("stat", &["-c", "%a", file, "/run/lvm-autoscaler/backup"]), "600\n700");
        assert!(daemon.log().contains("it is gone after a reboot, copy it"), "{}", daemon.log());
        assert!(daemon.stop().success());
    }
}

/// Without udev there is no /dev/block: devices are found by their kernel's or device-mapper's name.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn volumes_grow_where_udev_made_no_links() {
    for kind in ["ext4", "xfs"] {
        let group = Group::new(&format!("vmt_noudev_{kind}"), &["2G"]);
        let volume = group.filesystem(kind, "data", "320M");
        volume.fill(88.0);
        let (extents, df_size) = (volume.extents(), volume.df_size());
        let file = group.dir.join("config.yaml");
        fs::write(&file, config(&group, &[&volume], "")).expect("a config file");
        let hide = "mount -t tmpfs none /dev/block && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", hide, "sh", path(&crate::daemon::program()), "serve"]);
        command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", path(&file))]);
        let daemon = Daemon::run(command, group.dir.join("state"));
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "grown");
        assert_grown_once(&volume, extents, df_size);
        let log = daemon.log();
        assert!(!log.contains("could not be flushed") && !log.contains("cannot be read"), "{log}");
        assert!(daemon.stop().success());
    }
}

/// As after a first start on a host of which the disk is full.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_state_directory_without_room_is_told_by_the_daemon_and_by_a_command() {
    let group = Group::new("vmt_noroom", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let state = group.dir.join("state");
    fs::create_dir(&state).expect("a folder");
    sh("mount", &["-t", "tmpfs", "-o", "nr_inodes=1,mode=0700", "full", path(&state)]);
    struct Unmount(String);
    impl Drop for Unmount {
        fn drop(&mut self) {
            try_sh("umount", &[&self.0]);
        }
    }
    let _unmount = Unmount(path(&state).to_owned());
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let why = "cannot be made, its file system has no space or no inodes left: free some";
    assert!(daemon.log().contains(why) && !daemon.log().contains("as root"), "{}", daemon.log());
    assert!(daemon.stop().success());
    let file = format!("--config.file={}", path(&group.dir.join("config.yaml")));
    let (ok, out, told) = try_sh(path(&crate::daemon::program()), &["extend", &file, &volume.name()]);
    assert!(!ok && told.contains(why), "{out}{told}");
}

/// Whatever lvm.conf says, the report is the same.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn settings_in_lvm_conf_change_nothing_of_what_is_read() {
    let group = Group::new("vmt_conf", &["1G"]);
    group.filesystem("ext4", "data", "64M");
    let read = || {
        let page = sh(path(&crate::daemon::program()), &["metrics", "--config.file=/dev/null"]);
        let lines = page.lines().filter(|line| line.starts_with("lvm_") && !line.contains("_seconds"));
        lines.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let plain = read();
    let full = FullEtc::new();
    let hostile = read();
    drop(full);
    assert!(plain.contains("lvm_lv_size_bytes") && plain.contains("vmt_conf"), "{plain}");
    assert_eq!(hostile, plain);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_btrfs_grows_by_one_of_several_mounts_and_not_if_it_is_on_two_devices() {
    let group = Group::new("vmt_btrfs", &["3G"]);
    let volume = group.filesystem("btrfs", "data", "512M");
    // Its top at one place, and a subvolume, which is what the target names, at another.
    let top = volume.mount_point.clone();
    sh("btrfs", &["subvolume", "create", path(&top.join("sub"))]);
    let volume = Volume { mount_point: group.dir.join("sub"), ..volume };
    group.mount(&volume, &["-o", "subvol=sub"]);
    let data = volume.write_data();
    // What a btrfs has available goes down in its own steps.
    for part in 0..200 {
        if volume.df_percent() > 82.0 {
            break;
        }
        sh("fallocate", &["-l", "8M", path(&volume.mount_point.join(format!("fill{part}")))]);
        sh("sync", &["-f", path(&volume.mount_point)]);
    }
    let (extents, df_size) = (volume.extents(), volume.df_size());
    assert_eq!(df_size, extents * EXTENT);
    let missing = "defaults: { cooldown: 0s }\ntools: { btrfs: /nonexistent/btrfs }";
    let daemon = Daemon::start(&group, &config(&group, &[&volume], missing));
    daemon.alert(&labels(&volume));
    let refused = daemon.wait_for_outcome(&volume, "fs_unsupported");
    assert!(refused.sentence.contains("btrfs is not installed") && daemon.log().contains("no btrfs can grow"));
    assert!(daemon.stop().success());

    let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s }"));
    assert_eq!(daemon.metric("lvm_filesystem_size_bytes", &[("mountpoint", path(&top))]), df_size as f64);
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    let grown = volume.extents();
    assert!(grown > extents && (grown - extents).is_multiple_of(8), "{extents} {grown}");
    assert_eq!(volume.df_size(), grown * EXTENT);
    assert!(daemon.log().contains("btrfs filesystem resize --enqueue 1:max"), "{}", daemon.log());
    data.assert_intact();

    let other = group.lv("other", "512M");
    sh("btrfs", &["device", "add", "-f", &other.path(), path(&top)]);
    sh("sync", &[]);
    let before = group.fingerprint();
    daemon.alert(&labels(&volume));
    let refused = daemon.wait_for_count(&volume, "fs_unsupported", 2);
    assert!(refused.sentence.contains("is on 2 devices"), "{}", refused.sentence);
    assert_eq!(group.fingerprint(), before);
    sh("umount", &[path(&volume.mount_point)]);
    sh("umount", &[path(&top)]);
    sh("btrfs", &["check", &volume.path()]);
}

/// With `offline: allow`; the targets are mounted nowhere.
fn offline(group: &Group, volumes: &[&Volume]) -> Daemon {
    Daemon::start(group, &config(group, volumes, "defaults: { cooldown: 0s, offline: allow }"))
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_unmounted_ext4_is_checked_and_grown_and_nothing_that_is_in_use() {
    let group = Group::new("vmt_offline", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let data = volume.write_data();
    volume.fill(88.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    // Mounted still, in a mount namespace of somebody else's.
    let mut elsewhere = Command::new("unshare").args(["-m", "sleep", "60"]).spawn().expect("unshare runs");
    std::thread::sleep(std::time::Duration::from_millis(500));
    sh("umount", &[path(&volume.mount_point)]);
    let daemon = offline(&group, &[&volume]);
    daemon.alert(&labels(&volume));
    let refused = daemon.wait_for_outcome(&volume, "layered_device");
    assert!(refused.sentence.contains("another mount namespace"), "{}", refused.sentence);
    elsewhere.kill().expect("it runs");
    elsewhere.wait().expect("it ends");
    assert_eq!(volume.extents(), extents);

    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_outcome(&volume, "grown");
    assert!(daemon.log().contains("e2fsck -f -p /dev/mapper/vmt_offline-data"), "{}", daemon.log());
    sh("e2fsck", &["-f", "-n", &volume.path()]);
    group.mount(&volume, &[]);
    assert_grown_once(&volume, extents, df_size);
    data.assert_intact();
    assert!(past.sentence.contains(" % full"), "{}", past.sentence);
    // Mounted it grows like any other, and the superblock's numbers are those of df.
    volume.fill(88.0);
    daemon.alert(&labels(&volume));
    daemon.wait_for_count(&volume, "grown", 2);
    assert_eq!(volume.extents(), extents + 16);
    assert!(daemon.stop().success());

    let xfs = group.filesystem("xfs", "xfs", "320M");
    sh("umount", &[path(&xfs.mount_point)]);
    let daemon = offline(&group, &[&xfs]);
    let before = group.fingerprint();
    daemon.alert(&labels(&xfs));
    let refused = daemon.wait_for_outcome(&xfs, "not_mounted");
    assert!(refused.sentence.contains("xfs_growfs grows only an xfs that is mounted"), "{}", refused.sentence);
    assert_eq!(group.fingerprint(), before);
}

/// After an offline `resize2fs` the superblock does not say how many blocks are the file system's own.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_unmounted_ext4_grows_twice_without_being_mounted_in_between() {
    let group = Group::new("vmt_twice", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let data = volume.write_data();
    volume.fill(88.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    sh("umount", &[path(&volume.mount_point)]);
    // 59 % after the first, 44 % after the second.
    for (count, threshold) in [(1, 80), (2, 55)] {
        let settings = format!("defaults: {{ cooldown: 0s, offline: allow, threshold_percent: {threshold} }}");
        let daemon = Daemon::start(&group, &config(&group, &[&volume], &settings));
        daemon.alert(&labels(&volume));
        let past = daemon.wait_for_count(&volume, "grown", count);
        assert_eq!(volume.extents(), extents + 8 * count as u64, "{}", past.sentence);
        assert!(daemon.stop().success());
    }
    sh("e2fsck", &["-f", "-n", &volume.path()]);
    group.mount(&volume, &[]);
    assert!(volume.df_size() - df_size > 16 * EXTENT * 9 / 10);
    data.assert_intact();
}

/// What is counted where nothing is written down is what mke2fs writes down.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_overhead_of_an_ext4_is_counted_as_mke2fs_counts_it() {
    let group = Group::new("vmt_overhead", &["1G"]);
    let image = group.dir.join("image");
    for size in ["20M", "300M", "5G"] {
        for options in
            ["-b 4096", "-b 1024", "-O ^has_journal", "-O ^64bit", "-O ^resize_inode", "-O ^flex_bg", "-I 128"]
        {
            sh("truncate", &["-s", "0", path(&image)]);
            sh("truncate", &["-s", size, path(&image)]);
            let arguments: Vec<&str> = ["-q", "-F", "-t", "ext4"].into_iter().chain(options.split(' ')).collect();
            sh("mke2fs", &[&arguments[..], &[path(&image)]].concat());
            let mut head = vec![0; filesystem::LENGTH];
            File::open(&image).and_then(|mut file| file.read_exact(&mut head)).expect("a file system");
            let overhead = |head: &[u8]| match filesystem::parse(head) {
                Some(Superblock::Ext(ext)) => ext.at_rest.overhead,
                other => panic!("{other:?}"),
            };
            let written = overhead(&head);
            head[1024 + 0x248..1024 + 0x24C].fill(0);
            assert!(written > 0 && overhead(&head) == written, "{size} {options}: {written} {}", overhead(&head));
        }
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_unmounted_ext4_that_cannot_be_mended_alone_needs_a_person_before_anything_is_extended() {
    let group = Group::new("vmt_broken", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let extents = volume.extents();
    sh("umount", &[path(&volume.mount_point)]);
    // The root folder's inode: nothing in the superblock tells of it.
    sh("debugfs", &["-w", "-R", "clri <2>", &volume.path()]);
    let daemon = offline(&group, &[&volume]);
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_outcome(&volume, "needs_attention");
    assert_eq!(past.commands, ["e2fsck -f /dev/mapper/vmt_broken-data"], "{}", past.sentence);
    assert!(past.sentence.contains("e2fsck exited with 4"), "{}", past.sentence);
    assert_eq!(volume.extents(), extents);
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "operation_in_progress");
    // A person mends it: without another alert the metric says so, and then it grows.
    try_sh("e2fsck", &["-f", "-y", &volume.path()]);
    daemon.wait_for("attention to be over", |daemon| {
        (daemon.metric("lvm_autoscaler_target_needs_attention", &[("lv", "data")]) == 0.0).then_some(())
    });
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    assert!(volume.extents() > extents);
    sh("e2fsck", &["-f", "-n", &volume.path()]);
}
