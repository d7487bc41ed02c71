//! Something happens to the host between the look and a command, so that no guard can foresee it. What the operation
//! then names is run as it stands there, on real LVM, and ends with the files intact and the target open again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::daemon::{Daemon, config, labels, script};
use crate::grow::small;
use crate::storage::{Group, Volume, path, sh, try_sh};

const OPEN: &str = "defaults: { cooldown: 0s }";

/// A daemon that is given this program in the place of another; the operation needs attention, and is mended by what it
/// names.
fn mended(group: &Group, volume: &Volume, tool: &str, instead: &str, parts: &[&str]) -> Vec<String> {
    let data = volume.write_data();
    let program = script(&group.dir, &format!("{tool}-{}", volume.lv), instead);
    let daemon = Daemon::start(group, &config(group, &[volume], &format!("{OPEN}\ntools: {{ {tool}: {program} }}")));
    daemon.alert(&labels(volume));
    let past = daemon.wait_for_outcome(volume, "needs_attention");
    for part in parts {
        assert!(past.sentence.contains(part), "{part:?} in {}", past.sentence);
    }
    assert!(past.sentence.ends_with(&past.commands.join("; ")), "the sentence has them too: {}", past.sentence);
    for command in &past.commands {
        // 1 of e2fsck: it mended something.
        let (ok, out, err) = try_sh("sh", &["-c", &format!("{command} || [ $? = 1 ]")]);
        assert!(ok, "{command}: {err}{out}");
    }
    data.assert_intact();
    daemon.alert(&labels(volume));
    daemon.wait_for("the target open again", |daemon| daemon.journal().parked.is_empty().then_some(()));
    assert!(daemon.stop().success());
    past.commands
}

/// Says that it is over, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// With the programs as they are the next alert grows it.
fn grows(group: &Group, volume: &Volume) {
    let (extents, df_size) = (volume.extents(), volume.df_size());
    volume.fill(90.0);
    let daemon = Daemon::start(group, &config(group, &[volume], OPEN));
    daemon.alert(&labels(volume));
    daemon.wait_for_outcome(volume, "grown");
    assert!(volume.extents() > extents && volume.df_size() > df_size);
    assert!(daemon.stop().success());
}

fn instead_of_lvextend(before: &str) -> String {
    format!("case $1 in lvextend) {before} ;; esac\nexec /sbin/lvm \"$@\"\n")
}

/// LVM commits, the kernel refuses the table, the volume stays suspended under its mount.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_shrinks_before_lvextend_is_survived() {
    let group = Group::new("vmt_end_shrink", &["512M"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let (extents, disk) = (volume.extents(), path(&group.dir.join("disk0")).to_owned());
    let shrink = instead_of_lvextend(&format!("truncate -s 80M {disk}; losetup -c {}", group.loops[0]));
    let parts = ["lvextend exited with 5", "the kernel did not take it"];
    let commands = mended(&group, &volume, "lvm", &shrink, &parts);
    assert_eq!(commands[0], "dmsetup resume /dev/mapper/vmt_end_shrink-data");
    assert_eq!(volume.extents(), extents);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], OPEN));
    daemon.alert(&labels(&volume));
    let refused = daemon.wait_for_outcome(&volume, "disk_shrunk");
    assert!(refused.sentence.contains(&group.loops[0]), "{}", refused.sentence);
    assert!(daemon.stop().success());
    sh("truncate", &["-s", "512M", &disk]);
    sh("losetup", &["-c", &group.loops[0]]);
    grows(&group, &volume);
}

/// A disk with larger sectors joins the group after the look, and the volume is extended onto it.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_with_larger_sectors_that_joins_before_lvextend_is_left_again() {
    for (kind, size, options) in [("ext4", "64M", &["-b", "1024"][..]), ("xfs", "512M", &[])] {
        let group = Group::new(&format!("vmt_end_coarse_{kind}"), &[if kind == "xfs" { "552M" } else { "104M" }]);
        let volume = group.lv("data", size);
        sh(&format!("mkfs.{kind}"), &[&["-q"], options, &[&volume.path()]].concat());
        group.mount(&volume, &[]);
        volume.fill(88.0);
        let extents = volume.extents();
        let coarse = group.dir.join("coarse");
        sh("truncate", &["-s", "1G", path(&coarse)]);
        let device = sh("losetup", &["-f", "--show", "--sector-size", "4096", path(&coarse)]);
        // The free extents that the look saw are taken by another volume, and what is left is on the new disk.
        let name = &group.name;
        let join = instead_of_lvextend(&format!(
            "lvcreate -qq -y -Wn -Zn -l 100%PVS -n other {name} {} >/dev/null 2>&1; \
             vgextend -qq --config devices/allow_mixed_block_sizes=1 {name} {device} >/dev/null 2>&1",
            group.loops[0]
        ));
        let commands = mended(&group, &volume, "lvm", &join, &["the logical block size of"]);
        assert!(commands[1].starts_with("lvm lvreduce -y -l "), "{commands:?}");
        assert_eq!(volume.extents(), extents);
        let daemon = Daemon::start(&group, &config(&group, &[&volume], OPEN));
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "block_size");
        assert!(daemon.stop().success());
        drop(group);
        try_sh("losetup", &["-d", &device]);
    }
}

/// The kernel finds an error after the volume was extended, and does not grow the file system any more.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_error_that_comes_before_resize2fs_is_checked_and_then_it_grows() {
    let group = Group::new("vmt_end_error", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let extents = volume.extents();
    let fails = "echo test >/sys/fs/ext4/$(basename $(readlink -f $1))/trigger_fs_error\nexec /sbin/resize2fs \"$@\"\n";
    let commands = mended(&group, &volume, "resize2fs", fails, &["resize2fs exited with 1"]);
    let device = "/dev/mapper/vmt_end_error-data";
    let point = path(&volume.mount_point);
    let check = format!("e2fsck -f -p {device}");
    assert_eq!(
        commands,
        [format!("umount {point}"), check, format!("mount {device} {point}"), format!("resize2fs {device}")]
    );
    assert_eq!(volume.extents(), extents + 8);
    grows(&group, &volume);
}

/// A file system that is remounted read-only in between.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_is_remounted_read_only_before_it_grows_is_remounted() {
    let group = Group::new("vmt_end_ro", &["2G"]);
    for (kind, tool) in [("ext4", "resize2fs"), ("xfs", "xfs_growfs")] {
        let volume = group.filesystem(kind, kind, small(kind));
        volume.fill(85.0);
        let point = path(&volume.mount_point).to_owned();
        // The engine's programs may mount nothing, so another one does while this one waits.
        let asked = group.dir.join(format!("remount-{kind}"));
        let ask = format!(": >{0}\nwhile [ -e {0} ]; do sleep 0.1; done\nexec /sbin/{tool} \"$@\"\n", path(&asked));
        let program = fs::read_link(format!("/sbin/{tool}")).is_ok() || fs::metadata(format!("/sbin/{tool}")).is_ok();
        assert!(program, "{tool} is in /sbin");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if asked.exists() {
                        sh("sync", &[]);
                        sh("mount", &["-o", "remount,ro", &point]);
                        fs::remove_file(&asked).expect("it is there");
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let over = Over(&is_over);
            mended(&group, &volume, tool, &ask, &[&format!("{tool} exited with 1")]);
            drop(over);
        });
        grows(&group, &volume);
    }
}

/// Power fails less than half a minute after an XFS grew, and its log is replayed at the mount. Mounted once more it
/// grows on, as docs/lvm/troubleshooting.md, 20, has it; without that a kernel before Linux 6.12 would shut it down,
/// which the scene of that section shows.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_xfs_that_lost_power_after_it_grew_is_remounted_before_it_grows_again() {
    let group = Group::new("vmt_end_replay", &["1G"]);
    let volume = group.lv("data", "400M");
    // With one allocation group and a part of another, which each growth makes larger.
    sh("mkfs.xfs", &["-q", "-d", "agsize=300m", &volume.path()]);
    group.mount(&volume, &[]);
    let (point, data) = (path(&volume.mount_point).to_owned(), volume.write_data());
    let remount = || {
        sh("umount", &[&point]);
        sh("mount", &[&volume.path(), &point]);
    };
    let cut_power = || {
        sh("xfs_io", &["-x", "-c", "shutdown -f", &point]);
        remount();
        data.assert_intact();
    };
    // Full again before the power fails, so that nothing is written to the new space between a mount and the next
    // growth.
    volume.fill(90.0);
    grow_once(&group, &volume, 1);
    volume.fill(90.0);
    cut_power();
    remount();
    grow_once(&group, &volume, 2);
    data.assert_intact();
}

/// With the programs as they are; so many growths are in its journal then.
fn grow_once(group: &Group, volume: &Volume, count: usize) {
    let extents = volume.extents();
    let daemon = Daemon::start(group, &config(group, &[volume], OPEN));
    daemon.alert(&labels(volume));
    daemon.wait_for_count(volume, "grown", count);
    assert!(daemon.stop().success());
    assert!(volume.extents() > extents);
}
