//! Commands that fail or wait, and two daemons at a time.

use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, config, labels, program, script};
use crate::grow::{assert_grown_once, small};
use crate::storage::{Group, path, sh, try_sh};

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_lvextend_that_fails_changes_nothing() {
    let group = Group::new("vmt_fail_lv", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let fails = "case $1 in lvextend) echo '  Cannot do that.' >&2; exit 5 ;; esac\nexec /sbin/lvm \"$@\"\n";
    let fails = script(&group.dir, "lvm", fails);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ lvm: {fails} }}")));
    let before = group.fingerprint();
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_outcome(&volume, "failed");
    assert_eq!(group.fingerprint(), before);
    for part in ["lvextend exited with 5: Cannot do that.", "nothing was changed"] {
        assert!(past.sentence.contains(part), "{}", past.sentence);
    }
    daemon.wait_for("the counter", |daemon| {
        (daemon.metric("lvm_autoscaler_operations_total", &[("lv", "data"), ("outcome", "failed")]) == 1.0)
            .then_some(())
    });
    assert_eq!(daemon.metric("lvm_autoscaler_grown_bytes_total", &[]), 0.0);
    // It is not tried again at once.
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "cooldown");
}

/// LVM commands of the host and ours wait for one another at LVM's own lock.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_group_locked_by_another_command_is_waited_for() {
    let group = Group::new("vmt_lock", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let mut holder =
        Command::new("flock").args(["/run/lock/lvm/V_vmt_lock", "sleep", "4"]).spawn().expect("flock runs");
    std::thread::sleep(Duration::from_millis(500));
    daemon.alert(&labels(&volume));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(daemon.get("/metrics").status, 200, "a scrape does not wait for LVM");
    assert!(daemon.results(&volume).is_empty() && holder.try_wait().expect("a child").is_none());
    holder.wait().expect("it ends");
    daemon.wait_for_outcome(&volume, "grown");
    assert_grown_once(&volume, extents, df_size);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_growth_that_fails_needs_a_person_and_is_closed_until_one_came() {
    let group = Group::new("vmt_fail_fs", &["2G"]);
    for (kind, tool) in [("ext4", "resize2fs"), ("xfs", "xfs_growfs")] {
        let volume = group.filesystem(kind, kind, small(kind));
        volume.fill(85.0);
        let (extents, df_size) = (volume.extents(), volume.df_size());
        let data = volume.write_data();
        let fails = script(&group.dir, tool, "echo no >&2; exit 1\n");
        let settings = format!("defaults: {{ cooldown: 0s }}\ntools: {{ {tool}: {fails} }}");
        let daemon = Daemon::start(&group, &config(&group, &[&volume], &settings));
        daemon.alert(&labels(&volume));
        let past = daemon.wait_for_outcome(&volume, "needs_attention");
        assert_eq!((volume.extents(), volume.df_size()), (extents + 8, df_size));
        let next = match kind {
            "xfs" => format!("xfs_growfs -d {}", path(&volume.mount_point)),
            _ => format!("resize2fs /dev/mapper/vmt_fail_fs-{kind}"),
        };
        for part in [format!("{tool} exited with 1: no"), format!("run: {next}")] {
            assert!(past.sentence.contains(&part), "{}", past.sentence);
        }
        // Closed, and still closed after a restart with the tool in order.
        daemon.alert(&labels(&volume));
        let refused = daemon.wait_for_outcome(&volume, "operation_in_progress");
        assert!(refused.sentence.contains(&next), "{}", refused.sentence);
        assert!(daemon.stop().success());
        let daemon = Daemon::start(&group, &config(&group, &[&volume], "defaults: { cooldown: 0s }"));
        daemon.alert(&labels(&volume));
        daemon.wait_for_count(&volume, "operation_in_progress", 2);
        assert_eq!((volume.extents(), volume.df_size()), (extents + 8, df_size));

        // The person does what the sentence says.
        sh("sh", &["-c", &next]);
        assert_grown_once(&volume, extents, df_size);
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "below_threshold");
        volume.fill(85.0);
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "grown");
        assert_eq!(volume.extents(), extents + 16);
        data.assert_intact();
    }
}

/// As an `lvextend` leaves it that somebody killed between its commit and the end. Who reads or writes there waits, and
/// cannot be killed: nothing is run that would, and a person is told how it goes on.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_that_was_left_suspended_is_a_persons() {
    let group = Group::new("vmt_suspended", &["2G"]);
    for kind in ["ext4", "xfs"] {
        let volume = group.filesystem(kind, kind, small(kind));
        volume.fill(85.0);
        let (extents, df_size) = (volume.extents(), volume.df_size());
        let data = volume.write_data();
        let killed = format!("/sbin/lvm \"$@\"; dmsetup suspend vmt_suspended-{kind}; exit 137");
        let lvm = script(&group.dir, "lvm", &format!("case $1 in lvextend) {killed} ;; esac\nexec /sbin/lvm \"$@\"\n"));
        let settings = format!("defaults: {{ cooldown: 0s }}\ntools: {{ lvm: {lvm} }}");
        let daemon = Daemon::start(&group, &config(&group, &[&volume], &settings));
        daemon.alert(&labels(&volume));
        let past = daemon.wait_for_outcome(&volume, "needs_attention");
        assert!(past.sentence.contains("is suspended"), "{}", past.sentence);
        assert_eq!((past.commands.len(), volume.df_size()), (2, df_size), "{:?}", past.commands);
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "operation_in_progress");
        assert!(!try_sh("pgrep", &["-x", "blkid|resize2fs|xfs_growfs"]).0, "nothing waits for the device");
        past.commands.iter().for_each(|command| drop(sh("sh", &["-c", command])));
        assert_grown_once(&volume, extents, df_size);
        data.assert_intact();
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "below_threshold");
        assert!(daemon.stop().success());
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_second_daemon_on_the_same_state_refuses_to_start() {
    let group = Group::new("vmt_second", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let file = format!("--config.file={}", path(&group.dir.join("config.yaml")));
    let (ok, _, complaint) =
        try_sh("timeout", &["20", path(&program()), "serve", "--web.listen-address=127.0.0.1:0", &file]);
    assert!(!ok && complaint.contains("another lvm-autoscaler runs on this state directory"), "{complaint}");
    // The same with the state directory by another name, and with the address in use.
    let (ok, _, complaint) = try_sh(
        "timeout",
        &["20", path(&program()), "serve", &format!("--web.listen-address={}", daemon.address), &file],
    );
    // Of two processes the engine finds out first that its state is taken.
    let is_split = std::env::var_os("LVM_AUTOSCALER_SPLIT").is_some();
    let why = if is_split { "another lvm-autoscaler runs on this state directory" } else { "cannot listen on" };
    assert!(!ok && complaint.contains(why), "{complaint}");
    assert_eq!(daemon.get("/-/ready").status, 200, "the first one is not disturbed");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn without_lvm_the_log_says_so_and_metrics_say_so() {
    let group = Group::without_vg("vmt_no_lvm", &[]);
    let daemon = Daemon::start(&group, "tools: { lvm: /nonexistent/lvm }");
    assert_eq!(daemon.metric("lvm_up", &[]), 0.0);
    assert_eq!(daemon.get("/-/healthy").status, 200);
    assert_eq!(daemon.get("/-/ready").status, 503);
    assert!(daemon.log().contains("set tools.lvm"), "{}", daemon.log());
    assert!(daemon.stop().success());
}
