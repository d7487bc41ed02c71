//! The daemon dies in the middle, and what was begun is finished once.
//!
//! To die at a certain point a tool is replaced by a script that waits there: it writes its process number to a file
//! and then reads from a FIFO what to do.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::daemon::{Daemon, config, labels, script};
use crate::grow::{assert_grown_once, small};
use crate::storage::{Group, Volume, path, sh, try_sh};

/// A program that waits where it is called.
pub(crate) struct Gate {
    pub(crate) script: String,
    pid: PathBuf,
    fifo: PathBuf,
}

impl Gate {
    /// Stands in for `program`; waits only if the first argument matches the shell pattern.
    pub(crate) fn new(group: &Group, name: &str, pattern: &str, program: &str) -> Gate {
        let (pid, fifo) = (group.dir.join(format!("{name}.pid")), group.dir.join(format!("{name}.fifo")));
        mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        let (p, f) = (path(&pid), path(&fifo));
        let text = format!(
            "case $1 in\n{pattern}) echo $$ >{p}.new; mv {p}.new {p}; read word <{f}; [ $word = go ] || exit 1 ;;\nesac\n\
             exec {program} \"$@\"\n"
        );
        Gate { script: script(&group.dir, name, &text), pid, fifo }
    }

    /// Waits until the script stands at the gate; its process number.
    pub(crate) fn reached(&self, daemon: &Daemon) -> Pid {
        daemon.wait_for("the command to be called", |_| {
            let pid = fs::read_to_string(&self.pid).ok()?;
            Some(Pid::from_raw(pid.trim().parse().ok()?))
        })
    }

    fn open(&self) {
        fs::write(&self.fifo, "go\n").expect("somebody reads");
    }
}

pub(crate) fn end(pid: Pid) {
    kill(pid, Signal::SIGKILL).expect("it waits");
}

fn full(group: &Group, kind: &str) -> (Volume, u64, u64) {
    let volume = group.filesystem(kind, "data", small(kind));
    // One increment is enough also when a few megabytes of data come on top: mkfs.xfs 5.10 makes a small log, and so a
    // file system that is the larger part of its volume.
    volume.fill(85.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    (volume, extents, df_size)
}

/// Asserts that after a restart the operation ends well, with no second `lvextend`, and that the next alert finds
/// nothing to do.
fn finished_by_the_next(group: &Group, volume: &Volume, extents: u64, df_size: u64) {
    let daemon = Daemon::start(group, &config(group, &[volume], ""));
    daemon.wait_for_outcome(volume, "grown");
    assert_grown_once(volume, extents, df_size);
    daemon.alert(&labels(volume));
    daemon.wait_for_outcome(volume, "cooldown");
    assert_grown_once(volume, extents, df_size);
}

fn killed_between_lvextend_and_growth(kind: &str, tool: &str, group: &str) {
    let group = Group::new(group, &["2G"]);
    let (volume, extents, df_size) = full(&group, kind);
    let data = volume.write_data();
    let gate = Gate::new(&group, tool, "*", &format!("/sbin/{tool}"));
    let daemon = Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ {tool}: {} }}", gate.script)));
    daemon.alert(&labels(&volume));
    let script = gate.reached(&daemon);
    daemon.kill();
    end(script);
    assert_eq!((volume.extents(), volume.df_size()), (extents + 8, df_size), "extended and not grown");
    let seqno = volume.lvs("vg_seqno");
    finished_by_the_next(&group, &volume, extents, df_size);
    assert_eq!(volume.lvs("vg_seqno"), seqno, "LVM's metadata were not touched again");
    data.assert_intact();
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn killed_between_lvextend_and_resize2fs() {
    killed_between_lvextend_and_growth("ext4", "resize2fs", "vmt_kill_ext4");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn killed_between_lvextend_and_xfs_growfs() {
    killed_between_lvextend_and_growth("xfs", "xfs_growfs", "vmt_kill_xfs");
}

/// What a power cut leaves between the kernel's commit of an XFS's new size and its writes of the superblock's copies
/// (tests/vm/cuts.sh meets it by chance): the copies as they were before.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_copies_of_an_xfs_superblock_that_a_power_cut_left_behind_are_written() {
    let group = Group::new("vmt_copies", &["2G"]);
    let (volume, extents, df_size) = full(&group, "xfs");
    sh("xfs_io", &["-c", "label -s drill", path(&volume.mount_point)]);
    let info = sh("xfs_info", &[path(&volume.mount_point)]);
    let blocks = info.split("agsize=").nth(1).and_then(|rest| rest.split(' ').next()).expect("allocation groups");
    let places = [1, 2, 3].map(|group| group * 4096 * blocks.parse::<u64>().expect("a number"));
    let device = File::options().read(true).write(true).open(volume.path()).expect("a device");
    let before = places.map(|at| {
        let mut copy = [0; 512];
        device.read_exact_at(&mut copy, at).expect("a copy");
        copy
    });
    let gate = Gate::new(&group, "xfs_growfs", "*", "/sbin/xfs_growfs");
    let daemon =
        Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ xfs_growfs: {} }}", gate.script)));
    daemon.alert(&labels(&volume));
    let script = gate.reached(&daemon);
    daemon.kill();
    end(script);
    sh("xfs_growfs", &["-d", path(&volume.mount_point)]);
    sh("umount", &[path(&volume.mount_point)]);
    sh("xfs_repair", &["-n", &volume.path()]);
    for (at, copy) in places.iter().zip(&before) {
        device.write_all_at(copy, *at).expect("a copy");
    }
    device.sync_all().expect("on disk");
    drop(device);
    let (is_sound, _, complaint) = try_sh("xfs_repair", &["-n", &volume.path()]);
    assert!(!is_sound && complaint.contains("would write modified primary superblock"), "{complaint}");
    group.mount(&volume, &[]);

    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    daemon.wait_for_outcome(&volume, "grown");
    assert!(daemon.log().contains("label -s drill"), "{}", daemon.log());
    assert!(!daemon.log().contains("command=\"xfs_growfs"), "{}", daemon.log());
    assert!(daemon.stop().success());
    assert_grown_once(&volume, extents, df_size);
    sh("umount", &[path(&volume.mount_point)]);
    sh("xfs_repair", &["-n", &volume.path()]);
    assert_eq!(sh("blkid", &["-p", "-o", "value", "-s", "LABEL", &volume.path()]), "drill");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn killed_before_lvextend_ran() {
    let group = Group::new("vmt_kill_before", &["2G"]);
    let (volume, extents, df_size) = full(&group, "ext4");
    let gate = Gate::new(&group, "lvm", "lvextend", "/sbin/lvm");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ lvm: {} }}", gate.script)));
    daemon.alert(&labels(&volume));
    let script = gate.reached(&daemon);
    daemon.kill();
    end(script);
    assert_eq!((volume.extents(), volume.df_size()), (extents, df_size));
    finished_by_the_next(&group, &volume, extents, df_size);
}

/// The worst case: the daemon is dead, its `lvextend` is not. The next daemon waits for it and does not run it beside
/// itself.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_lvextend_that_comes_late_extends_nothing_a_second_time() {
    let group = Group::new("vmt_late", &["2G"]);
    let (volume, extents, df_size) = full(&group, "ext4");
    let gate = Gate::new(&group, "lvm", "lvextend", "/sbin/lvm");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ lvm: {} }}", gate.script)));
    daemon.alert(&labels(&volume));
    let script = gate.reached(&daemon);
    daemon.kill();

    let next = Daemon::start(&group, &config(&group, &[&volume], ""));
    next.wait_for("it to see the other", |next| next.log().contains("waiting for it to end").then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((volume.extents(), volume.df_size()), (extents, df_size), "it waits");
    assert_eq!(next.metric("lvm_autoscaler_command_overdue", &[("command", "lvextend")]), 1.0);
    gate.open();
    while kill(script, None).is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    next.wait_for_outcome(&volume, "grown");
    assert_grown_once(&volume, extents, df_size);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn terminated_in_the_middle_the_running_step_ends_and_the_rest_waits_for_the_next_start() {
    let group = Group::new("vmt_term", &["2G"]);
    let (volume, extents, df_size) = full(&group, "ext4");
    let gate = Gate::new(&group, "lvm", "lvextend", "/sbin/lvm");
    let mut daemon = Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ lvm: {} }}", gate.script)));
    daemon.alert(&labels(&volume));
    gate.reached(&daemon);
    daemon.terminate();
    daemon.wait_for("it to drain", |daemon| daemon.log().contains("waiting for steps that run").then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    assert!(daemon.ended().is_none(), "it waits for the command");
    gate.open();
    assert!(daemon.stop().success());
    assert_eq!((volume.extents(), volume.df_size()), (extents + 8, df_size), "extended, not grown");
    finished_by_the_next(&group, &volume, extents, df_size);
}

/// An alert that was answered with 202 outlives the daemon, even if LVM had not answered once.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_accepted_alert_outlives_the_daemon() {
    let group = Group::new("vmt_accepted", &["2G"]);
    let (volume, extents, df_size) = full(&group, "ext4");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], "tools: { lvm: /bin/false }"));
    assert_eq!(daemon.metric("lvm_up", &[]), 0.0);
    assert_eq!(daemon.get("/-/ready").status, 503);
    let by_names = [("instance", "vm"), ("vg", volume.vg.as_str()), ("lv", volume.lv.as_str())];
    assert_eq!(daemon.alert(&by_names)["verdict"], "accepted");
    daemon.wait_for("it to try", |daemon| daemon.log().contains("trying again").then_some(()));
    daemon.kill();
    assert_eq!((volume.extents(), volume.df_size()), (extents, df_size));
    finished_by_the_next(&group, &volume, extents, df_size);
}
