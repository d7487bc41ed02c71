//! The disk under the journal: one that becomes read-only, one without room, one that hangs, and a btrfs.
//!
//! The state directory is the mount point of a volume of its own, so that nothing else is harmed.

use std::fs;

use crate::daemon::{Daemon, config, labels, payload};
use crate::grow::assert_grown_once;
use crate::storage::{Group, Volume, path, sh, try_sh};

/// A group, the volume for the state, and a target that is full.
fn two_volumes(name: &str, kind: &str, size: &str) -> (Group, Volume, Volume) {
    let group = Group::new(name, &["2G"]);
    let state = group.filesystem(kind, "state", size);
    let data = group.filesystem("ext4", "data", "64M");
    data.fill(88.0);
    (group, state, data)
}

/// Nothing is acted upon, and everybody is told.
fn assert_closed(daemon: &Daemon, group: &Group, data: &Volume) {
    let before = group.fingerprint();
    // What was open before is found out by the first write.
    assert_eq!(daemon.post(&payload(&labels(data))).status, 503);
    daemon
        .wait_for("the metric", |daemon| (daemon.metric("lvm_autoscaler_journal_writable", &[]) == 0.0).then_some(()));
    assert_eq!(daemon.get("/-/ready").status, 503);
    assert_eq!(daemon.post(&payload(&labels(data))).status, 503);
    assert_eq!(group.fingerprint(), before);
}

fn assert_open(daemon: &Daemon, data: &Volume) {
    daemon
        .wait_for("the journal", |daemon| (daemon.metric("lvm_autoscaler_journal_writable", &[]) == 1.0).then_some(()));
    daemon.wait_for("readiness", |daemon| (daemon.get("/-/ready").status == 200).then_some(()));
    let (extents, df_size) = (data.extents(), data.df_size());
    daemon.alert(&labels(data));
    daemon.wait_for_outcome(data, "grown");
    assert_grown_once(data, extents, df_size);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_journal_on_a_disk_that_becomes_read_only_stops_everything_until_it_is_mended() {
    let (group, state, data) = two_volumes("vmt_journal_ro", "ext4", "64M");
    sh("mount", &["-o", "remount,errors=remount-ro", path(&state.mount_point)]);
    let daemon = Daemon::start(&group, &config(&group, &[&data], ""));
    // As the kernel does it when it finds an error.
    let device = fs::canonicalize(state.path()).expect("a device");
    let name = device.file_name().expect("a name").to_string_lossy().into_owned();
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "test").expect("the kernel has it");
    assert_closed(&daemon, &group, &data);
    assert!(daemon.stop().success());
    // Mended, and still read-only.
    sh("umount", &[path(&state.mount_point)]);
    assert!(
        matches!(std::process::Command::new("e2fsck").args(["-f", "-p", &state.path()]).status(), Ok(status) if status.code() < Some(4))
    );
    sh("mount", &["-o", "ro", &state.path(), path(&state.mount_point)]);
    let daemon = Daemon::start(&group, &config(&group, &[&data], ""));
    assert_closed(&daemon, &group, &data);
    // No restart is needed, and what a person says is heard again too.
    sh("mount", &["-o", "remount,rw", path(&state.mount_point)]);
    assert_open(&daemon, &data);
    daemon.wait_until_said(0, "control socket ready");
    assert!(daemon.stop().success());
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_journal_that_there_is_no_room_for_stops_everything_until_there_is() {
    for kind in ["ext4", "xfs"] {
        let size = if kind == "xfs" { "320M" } else { "64M" };
        let (group, state, data) = two_volumes(&format!("vmt_journal_full_{kind}"), kind, size);
        let fill = state.mount_point.join("fill");
        try_sh("sh", &["-c", &format!("cat /dev/zero >{}", path(&fill))]);
        let daemon = Daemon::start(&group, &config(&group, &[&data], ""));
        assert_closed(&daemon, &group, &data);
        fs::remove_file(&fill).expect("ours");
        assert_open(&daemon, &data);
        // What is there once is written in place, and needs no room.
        try_sh("sh", &["-c", &format!("cat /dev/zero >{}", path(&fill))]);
        assert_eq!(daemon.post(&payload(&labels(&data))).status, 202);
        daemon.wait_for_outcome(&data, "cooldown");
        assert!(daemon.stop().success());
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_journal_on_btrfs_is_written_in_place() {
    let (group, state, data) = two_volumes("vmt_journal_btrfs", "btrfs", "256M");
    let daemon = Daemon::start(&group, &config(&group, &[&data], ""));
    let has_flag =
        |listed: &str| listed.lines().all(|line| line.split(' ').next().is_some_and(|flags| flags.contains('C')));
    let folder = sh("lsattr", &["-d", path(&state.mount_point)]);
    assert!(has_flag(&folder), "{folder}");
    let files: Vec<_> =
        fs::read_dir(&state.mount_point).expect("ours").map(|entry| entry.expect("one").path()).collect();
    let segments: Vec<&str> = files.iter().map(|file| path(file)).filter(|file| file.contains("/journal.")).collect();
    assert_eq!(segments.len(), 2, "{files:?}");
    let listed = sh("lsattr", &segments);
    assert!(has_flag(&listed), "{listed}");
    assert_open(&daemon, &data);
    assert!(daemon.stop().success());
}

/// The device under the state directory takes writes and does not answer.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_journal_on_a_disk_that_hangs_keeps_no_page_waiting() {
    let (group, _, data) = two_volumes("vmt_journal_hangs", "ext4", "64M");
    let daemon = Daemon::start(&group, &config(&group, &[&data], ""));
    let (extents, df_size, seqno) = (data.extents(), data.df_size(), data.lvs("vg_seqno"));
    sh("dmsetup", &["suspend", "--nolockfs", "vmt_journal_hangs-state"]);
    // All of these have the deadline of the client; that of the alert is longer than the eight seconds we take.
    assert_eq!(daemon.post(&payload(&labels(&data))).status, 503);
    for _ in 0..3 {
        assert_eq!(daemon.metric("lvm_autoscaler_journal_writable", &[]), 0.0);
        assert_eq!(daemon.get("/-/ready").status, 503);
        assert_eq!(daemon.get("/-/healthy").status, 200);
        assert_eq!(daemon.get("/").status, 200);
    }
    assert_eq!((data.extents(), data.df_size(), data.lvs("vg_seqno")), (extents, df_size, seqno));
    sh("dmsetup", &["resume", "vmt_journal_hangs-state"]);
    daemon
        .wait_for("the journal", |daemon| (daemon.metric("lvm_autoscaler_journal_writable", &[]) == 1.0).then_some(()));
    // The record may have got there after all; what comes again adds nothing.
    daemon.post(&payload(&labels(&data)));
    daemon.wait_for_outcome(&data, "grown");
    assert_grown_once(&data, extents, df_size);
    assert!(daemon.stop().success());
}
